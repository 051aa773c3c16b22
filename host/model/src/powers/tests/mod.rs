//! The check of answers, and the arithmetic of powers.

mod fixtures;
mod rules;
mod sets;
