//! What probes and hooks do: an HTTP request, a connection, a call of the health protocol, a
//! command. Each is a function from what is asked to what came of it; time limits, repetition and
//! what follows are [`crate::pod::probing`]'s.

pub(crate) mod command;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod tcp;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How much of an answer is kept, in bytes, as upstream.
pub(crate) const MAX_ANSWER_BYTES: usize = 10 * 1024;

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Success,
    /// All is well, but there is something to say.
    Warning(String),
    /// It is not, and why.
    Failure(String),
}

/// The port that a number or a container port's name means.
///
/// # Errors
/// Says that there is no such port.
pub(crate) fn port(wanted: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match wanted {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    number.ok_or_else(|| match wanted {
        IntOrString::Int(number) => format!("invalid port number: {number}"),
        IntOrString::String(name) => format!("couldn't find port: {name:?}"),
    })
}

/// An address with its port, as URLs and messages show it.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The system's words without its number and in lower case, as Go has them.
pub(crate) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
