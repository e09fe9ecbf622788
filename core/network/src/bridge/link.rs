use std::io;

use nix::errno::Errno;
use rtnetlink::{
    LinkUnspec,
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, State},
    },
};

use crate::netlink::{Request, RouteSocket, failed_with};

/// All links of the socket's namespace.
pub(crate) fn list(socket: &mut RouteSocket) -> io::Result<Vec<LinkMessage>> {
    let links = socket.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(links
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .collect())
}

/// The link called `name`, if there is one.
pub(crate) fn find(socket: &mut RouteSocket, name: &str) -> io::Result<Option<LinkMessage>> {
    let request = LinkUnspec::new_with_name(name).build();
    let answer = socket.get(RouteNetlinkMessage::GetLink(request));
    if failed_with(&answer, Errno::ENODEV) {
        return Ok(None);
    }
    match answer? {
        RouteNetlinkMessage::NewLink(link) => Ok(Some(link)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Removes the link called `name`; one that isn't there is fine.
pub(crate) fn delete(socket: &mut RouteSocket, name: &str) -> io::Result<()> {
    let request = LinkUnspec::new_with_name(name).build();
    let result = socket.execute(vec![(RouteNetlinkMessage::DelLink(request), 0)]);
    if failed_with(&result, Errno::ENODEV) { Ok(()) } else { result }
}

/// A request to change a link that exists.
pub(crate) fn change(message: LinkMessage) -> Request {
    (RouteNetlinkMessage::NewLink(message), 0)
}

pub(crate) fn name(link: &LinkMessage) -> &str {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    });
    name.unwrap_or_default()
}

pub(crate) fn alias(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfAlias(alias) => Some(alias.as_str()),
        _ => None,
    })
}

/// The bridge that the link is a port of.
pub(crate) fn bridge(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

pub(crate) fn is_bridge(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Bridge)),
        _ => false,
    })
}

pub(crate) fn carries_traffic(link: &LinkMessage) -> bool {
    link.attributes.contains(&LinkAttribute::OperState(State::Up))
}
