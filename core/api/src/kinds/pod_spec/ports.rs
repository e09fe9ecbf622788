use k8s_openapi::api::core::v1::{Container, ContainerPort};

use crate::field::{ErrorList, Path};
use crate::kinds::check::{Seen, complain, required_choice, text};
use crate::kinds::names::rules;

/// The transport protocols that ports have.
pub(in crate::kinds) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Checks the ports of a container.
pub(super) fn validate(ports: &[ContainerPort], path: &Path<'_>, errors: &mut ErrorList) {
    let mut names = Seen::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let complaints = rules::port_name(name);
            if !complaints.is_empty() {
                complain(errors, &path.child("name"), name, complaints);
            } else if !names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        match port.container_port {
            0 => errors.required(&path.child("containerPort"), ""),
            number => {
                let at = path.child("containerPort");
                complain(errors, &at, number, rules::port_number(number));
            }
        }
        let number = port.host_port.unwrap_or(0);
        if number != 0 {
            complain(errors, &path.child("hostPort"), number, rules::port_number(number));
        }
        required_choice(errors, &path.child("protocol"), &port.protocol, &PROTOCOLS);
    }
}

/// No two of these containers may want the same port of the host.
pub(super) fn validate_host_ports<'a>(
    containers: impl Iterator<Item = (usize, &'a Container)>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut seen = Seen::new();
    for (index, container) in containers {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let number = port.host_port.unwrap_or(0);
            let (protocol, address) = (text(&port.protocol), text(&port.host_ip));
            if number != 0 && !seen.insert((protocol, address, number)) {
                let shown = format!("{protocol}/{address}/{number}");
                errors.duplicate(&path.index(index).child("hostPort"), shown);
            }
        }
    }
}
