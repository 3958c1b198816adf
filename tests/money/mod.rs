//! Prices, bills, closed months.

mod bills;
mod close;
mod prices;
