//! The types and their maths: sketches, rates, statistics, zones.

mod aggregates;
mod large_counts;
mod memory;
mod properties;
mod rates;
mod sketches;
mod zones;
