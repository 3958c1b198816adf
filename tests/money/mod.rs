//! Prices, bills, closed months.

mod bills;
mod cases;
mod close;
mod focus;
mod price_list;
mod prices;
mod reports;
mod tiers;
