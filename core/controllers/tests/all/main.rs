//! The controllers on virtual time, with a server and a store in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

mod api_services;
mod bad_input;
mod bootstrap_tokens;
mod certificates;
mod clusterrole_aggregation;
mod custom_resources;
mod daemon_sets;
mod devices;
mod garbage_collector;
mod harness;
mod job_rules;
mod jobs;
mod namespace;
mod node_lifecycle;
mod other_servers;
mod pod_gc;
mod pod_ranges;
mod policy_status;
mod replication_controllers;
mod resource_quotas;
mod restarts;
mod rollouts;
mod service_accounts;
mod services;
mod stateful_sets;
mod taint_eviction;
mod volumes;
mod volumes_of_pods;
