//! The HTTPS front of the request pipeline: what kubectl, helm and every other client speak to.

pub mod discovery;
