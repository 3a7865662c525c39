//! The explorer: plays every order of events between two nodes, with the product's own rules.

mod events;
mod heal;
mod judge;
mod meetings;
mod mutants;
mod naming;
mod points;
mod product;
mod requests;
mod rules;
mod search;
mod spaces;
mod world;
