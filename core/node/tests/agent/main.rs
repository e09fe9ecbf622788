//! The node agent against the real API in one process and a simulated runtime, in virtual time.

mod adoption;
mod lifecycle;
mod nodes;
mod restarts;
mod starting;
mod world;
