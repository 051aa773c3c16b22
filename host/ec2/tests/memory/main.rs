//! Servers on an EC2 in memory: what happens when calls fail, when time passes, and when whoever works is killed.

mod cloud;
mod crashes;
mod faults;
mod life;
mod shared;
