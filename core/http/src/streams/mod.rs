//! Connections to what runs on a node: logs, `exec`, `attach`, `portforward` and `proxy`.
//!
//! Clients come over a WebSocket in one of the subprotocols that upstream knows, or over SPDY/3.1,
//! alone or within a WebSocket.

mod containers;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod log;
pub(crate) mod port_forward;
mod proxy;
pub(crate) mod remote_command;
pub(crate) mod single_port;
mod spdy;
mod spdy_command;
mod tunnel;
pub(crate) mod web_socket;

pub(crate) use proxy::{Anybody, join, remove_hop_by_hop};

use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use hyper::upgrade::OnUpgrade;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{ApiError, Key, Reason, Resource, Result, Typed};
use pinnace_client::nodes::{NodeConnection, NodeDirectory, PodReference};
use pinnace_client::{Target, WriteOptions};
use pinnace_server::{Attributes, Selectors, Server, User};
use serde_json::{Value, json};

use crate::authentication::Peer;
use crate::handlers::{method_not_allowed, no_such_resource};
use crate::request::{Query, RequestInfo};
use crate::{Body, RequestBody};

/// A request that connects to something, from somebody who may.
pub(crate) struct Connect<'a> {
    pub(crate) server: &'a Server,
    pub(crate) nodes: Option<&'a Arc<dyn NodeDirectory>>,
    pub(crate) user: &'a User,
    pub(crate) info: &'a RequestInfo,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: &'a Peer,
    pub(crate) resource: &'a Arc<Resource>,
}

/// A client whose connection is taken over.
pub(crate) struct Upgrading<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) upgrade: OnUpgrade,
    pub(crate) peer: &'a Peer,
}

/// Whether a subresource is a connection and not a part of the object.
pub(crate) fn is_connection(resource: &Resource, subresource: &str) -> bool {
    resource.group.is_empty()
        && match &*resource.plural {
            "pods" => matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy"),
            "services" | "nodes" => subresource == "proxy",
            _ => false,
        }
}

/// A pod and the node that it is on.
struct Place {
    pod: Typed<Pod>,
    reference: PodReference,
}

impl Connect<'_> {
    /// Connects.
    ///
    /// # Errors
    /// Those of the API.
    pub(crate) async fn run(
        self,
        parts: &Parts,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>> {
        let method = &parts.method;
        if self.info.subresource == "proxy" {
            self.admit(self.asked()).await?;
            return self.proxy(parts, body, upgrade).await;
        }
        if self.info.rest.is_some() {
            return Err(no_such_resource());
        }
        match (&*self.info.subresource, method) {
            ("log", &Method::GET) => self.log(upgrade).await,
            ("exec" | "attach" | "portforward", &Method::GET | &Method::POST) => {
                // To run something is more than to read, however the request is made.
                if method == Method::GET {
                    self.check("create")?;
                }
                let upgrade = upgrade.filter(|_| asks_for_upgrade(self.headers));
                let upgrade =
                    upgrade.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
                let asked = self.admit(self.asked()).await?;
                if self.info.subresource == "portforward" {
                    self.port_forward(upgrade)
                } else {
                    self.remote_command(&asked, upgrade).await
                }
            }
            _ => Err(method_not_allowed()),
        }
    }

    /// What is asked for, as the API has it.
    fn asked(&self) -> Value {
        let path = || self.info.rest.as_deref().unwrap_or_default();
        let (kind, mut asked) = match (&*self.info.subresource, &*self.resource.plural) {
            ("proxy", "services") => ("ServiceProxyOptions", json!({"path": path()})),
            ("proxy", "nodes") => ("NodeProxyOptions", json!({"path": path()})),
            ("proxy", _) => ("PodProxyOptions", json!({"path": path()})),
            ("portforward", _) => {
                let ports = self.query.all("ports").flat_map(|ports| ports.split(','));
                let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
                ("PodPortForwardOptions", json!({"ports": ports}))
            }
            (part, _) => {
                let mut asked = json!({});
                for flag in ["stdin", "stdout", "stderr", "tty"] {
                    asked[flag] = self.query.flag(flag).into();
                }
                if let Some(container) = self.query.text("container") {
                    asked["container"] = container.into();
                }
                if part == "exec" {
                    asked["command"] = self.query.all("command").collect::<Vec<_>>().into();
                    ("PodExecOptions", asked)
                } else {
                    ("PodAttachOptions", asked)
                }
            }
        };
        asked["apiVersion"] = "v1".into();
        asked["kind"] = kind.into();
        asked
    }

    /// Asks those who are asked about writes, who may also change what is asked for.
    async fn admit(&self, asked: Value) -> Result<Value> {
        let key = if self.resource.is_namespaced() {
            Key::new(&*self.info.namespace, &*self.info.name)
        } else {
            Key::cluster(&*self.info.name)
        };
        let target = Target::new(self.resource.clone(), key);
        let (part, options) = (&*self.info.subresource, WriteOptions::default());
        self.server.admit_connection(self.user, &target, part, asked, &options).await
    }

    fn check(&self, verb: &str) -> Result<()> {
        self.server.check(&Attributes {
            user: self.user,
            verb,
            group: &self.info.group,
            resource: &self.info.resource,
            subresource: &self.info.subresource,
            namespace: &self.info.namespace,
            name: &self.info.name,
            path: "",
            selectors: Selectors::default(),
        })
    }

    fn place(&self) -> Result<Place> {
        let key = Key::new(&*self.info.namespace, &*self.info.name);
        let snapshot = self.server.store().snapshot();
        let object = snapshot
            .get(self.resource.name(), &key)
            .ok_or_else(|| ApiError::not_found(self.resource, key.name()))?;
        Ok(Place {
            pod: object.typed()?,
            reference: PodReference {
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
                uid: object.uid().to_owned(),
            },
        })
    }

    /// The node of a pod; `None` while it has none.
    fn node(&self, pod: &Pod) -> Result<Option<Arc<dyn NodeConnection>>> {
        let name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        let nodes = self.nodes.ok_or_else(|| {
            ApiError::new(Reason::ServiceUnavailable, "this server reaches no nodes")
        })?;
        nodes.node(name).map(Some)
    }

    fn node_of(&self, place: &Place) -> Result<Arc<dyn NodeConnection>> {
        self.node(&place.pod)?.ok_or_else(|| {
            let name = &place.reference.name;
            ApiError::bad_request(format!("pod {name} does not have a host assigned"))
        })
    }
}

pub(crate) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut options = values.flat_map(|value| value.split(','));
    headers.contains_key(UPGRADE)
        && options.any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// Whether the client speaks SPDY without a WebSocket around it.
fn is_spdy(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"SPDY/3.1"))
}
