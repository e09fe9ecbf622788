use k8s_openapi::api::core::v1::{Container, PodSpec};

/// The address that stands for all addresses of a node.
const ANY: &str = "0.0.0.0";

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    address: Box<str>,
    protocol: Box<str>,
    port: i32,
}

impl HostPort {
    /// Whether a node has room for only one of both.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || &*self.address == ANY || &*other.address == ANY)
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.port
    }

    /// Its protocol.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The host ports that the containers and sidecars of a pod ask for.
    pub fn of(spec: &PodSpec) -> Vec<Self> {
        let sidecars = spec.init_containers.iter().flatten();
        let sidecars =
            sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        sidecars.chain(&spec.containers).flat_map(Self::of_container).collect()
    }

    fn of_container(container: &Container) -> impl Iterator<Item = Self> + '_ {
        container.ports.iter().flatten().filter_map(|port| {
            let known = |text: &Option<String>, default: &str| {
                text.as_deref().filter(|text| !text.is_empty()).unwrap_or(default).into()
            };
            let number = port.host_port.filter(|number| *number > 0)?;
            Some(Self {
                address: known(&port.host_ip, ANY),
                protocol: known(&port.protocol, "TCP"),
                port: number,
            })
        })
    }
}
