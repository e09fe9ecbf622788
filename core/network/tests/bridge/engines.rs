use std::{collections::HashSet, net::Ipv4Addr, thread, time::Duration};

use futures::future::join_all;
use pinnace_network::{BridgeNetwork, IpNet, PodNetwork};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth};

use crate::support::{
    DEADLINE, Namespace, assert_talks, attach, cables, folder, interfaces, on_a_node, open,
};

/// Netlink for what a test does behind the network's back.
fn netlink() -> Handle {
    let (connection, handle, _) = rtnetlink::new_connection().expect("a socket");
    tokio::spawn(connection);
    handle
}

async fn index(handle: &Handle, name: &str) -> u32 {
    use futures::TryStreamExt;
    let mut found = handle.link().get().match_name(name.to_owned()).execute();
    found.try_next().await.expect("an answer").expect("a link").header.index
}

async fn uids(network: &BridgeNetwork) -> Vec<String> {
    let pods = network.attached().await.expect("a list");
    pods.into_iter().map(|pod| pod.pod_uid).collect()
}

fn set(uids: &[&str]) -> HashSet<String> {
    uids.iter().map(|uid| (*uid).to_owned()).collect()
}

#[test]
fn a_restarted_engine_finds_its_pods_and_drops_unknown_ones() {
    on_a_node(async || {
        let folder = folder();
        let pods: Vec<_> = (0..4).map(|_| Namespace::new()).collect();
        let first = open(&folder, |_| {}).await.unwrap();
        let mut before = Vec::new();
        for (uid, pod) in ["a", "b", "c"].iter().zip(&pods) {
            before.push(attach(&first, uid, pod).await.unwrap());
        }
        let cidrs = first.pod_cidrs();
        drop(first);

        let second = open(&folder, |_| {}).await.unwrap();
        assert_eq!(second.pod_cidrs(), cidrs);
        let found: Vec<_> =
            second.attached().await.unwrap().into_iter().map(|pod| pod.addresses).collect();
        assert_eq!(found, before);
        assert_eq!(attach(&second, "c", &pods[2]).await.unwrap(), before[2]);
        let next = attach(&second, "d", &pods[3]).await.unwrap();
        assert!(next.ips[0] > before[2].ips[0], "{next:?} continues the rotation");

        assert_eq!(second.reconcile(&set(&["a"])).await.unwrap(), ["b"]);
        assert_eq!(uids(&second).await, ["a", "c", "d"]);
        assert_talks(before[0].ips[0], &pods[0], Some(&pods[3]));
    });
}

#[test]
fn the_unfinished_cable_of_a_dead_program_is_removed() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let first = open(&folder, |_| {}).await.unwrap();
        attach(&first, "a", &pod).await.unwrap();
        let handle = netlink();
        let bridge = index(&handle, first.bridge()).await;
        for (name, peer) in [("podunfinished", "peer0"), ("guest", "peer1")] {
            let link = LinkVeth::new(name, peer).controller(bridge).build();
            handle.link().add(link).execute().await.unwrap();
        }
        drop(first);

        let second = open(&folder, |_| {}).await.unwrap();
        assert_eq!(uids(&second).await, ["a"]);
        let names = interfaces();
        assert!(!names.contains(&"podunfinished".to_owned()), "{names:?}");
        assert!(names.contains(&"guest".to_owned()), "{names:?}: what others plugged in stays");
    });
}

#[test]
fn a_pod_whose_namespace_went_is_no_longer_attached() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let network = open(&folder, |_| {}).await.unwrap();
        attach(&network, "a", &pod).await.unwrap();
        drop(pod);
        // The kernel takes namespaces down in its own time.
        let patience = tokio::time::timeout(DEADLINE, async {
            while !uids(&network).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        patience.await.unwrap();
        assert_eq!(cables(), 0);
        assert_eq!(open(&folder, |_| {}).await.unwrap().attached().await.unwrap(), []);
    });
}

#[test]
fn engines_side_by_side_share_nothing() {
    on_a_node(async || {
        let folders: Vec<_> = (0..6).map(|_| folder()).collect();
        let opened = join_all(folders.iter().map(|folder| open(folder, |_| {}))).await;
        let networks: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        let cidrs: Vec<IpNet> = networks.iter().flat_map(|network| network.pod_cidrs()).collect();
        for (place, cidr) in cidrs.iter().enumerate() {
            let IpNet::V4(cidr) = cidr else { panic!("{cidr} is not IPv4") };
            assert_eq!(cidr.addr().octets()[0], 10);
            assert!(!cidrs[..place].contains(&IpNet::V4(*cidr)), "{cidrs:?}");
        }
        let (one, two) = (Namespace::new(), Namespace::new());
        let first = attach(&networks[0], "same", &one).await.unwrap();
        let second = attach(&networks[1], "same", &two).await.unwrap();
        assert_talks(first.ips[0], &one, None);
        assert_talks(second.ips[0], &two, None);

        networks[0].shutdown(false).await.unwrap();
        assert_talks(second.ips[0], &two, None);
        assert_eq!(cables(), 1);
    });
}

#[test]
fn picking_stays_clear_of_what_the_machine_uses() {
    on_a_node(async || {
        let handle = netlink();
        handle.link().add(LinkBridge::new("lan").build()).execute().await.unwrap();
        let lan = index(&handle, "lan").await;
        let address = Ipv4Addr::new(10, 200, 0, 1).into();
        handle.address().add(lan, address, 8).execute().await.unwrap();

        let folder = folder();
        let network = open(&folder, |_| {}).await.unwrap();
        let cidr = network.pod_cidrs()[0];
        assert!("172.16.0.0/12".parse::<IpNet>().unwrap().contains(&cidr), "{cidr}");
    });
}

#[test]
fn the_range_is_kept_while_the_bridge_is_gone() {
    on_a_node(async || {
        let folder = folder();
        let network = open(&folder, |_| {}).await.unwrap();
        let cidrs = network.pod_cidrs();
        network.shutdown(false).await.unwrap();
        assert_eq!(interfaces(), ["lo"]);
        // Another name, so that a new pick would begin elsewhere.
        let again = open(&folder, |config| config.bridge = "other".to_owned()).await.unwrap();
        assert_eq!(again.pod_cidrs(), cidrs);
    });
}

#[test]
fn shutdown_leaves_the_pods_connected_when_told_so() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let network = open(&folder, |_| {}).await.unwrap();
        let addresses = attach(&network, "a", &pod).await.unwrap();
        network.shutdown(true).await.unwrap();
        assert_talks(addresses.ips[0], &pod, None);
        assert!(attach(&network, "b", &pod).await.is_err());
        network.shutdown(false).await.unwrap();
        assert_eq!(interfaces(), ["lo"]);
        assert_eq!(pod.run(interfaces), ["lo"]);
    });
}

#[test]
fn a_bridge_that_was_taken_down_is_put_up_again() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let first = open(&folder, |_| {}).await.unwrap();
        let addresses = attach(&first, "a", &pod).await.unwrap();
        let down = LinkUnspec::new_with_name(first.bridge()).down().build();
        netlink().link().set(down).execute().await.unwrap();
        drop(first);
        let _second = open(&folder, |_| {}).await.unwrap();
        assert_talks(addresses.ips[0], &pod, None);
    });
}

#[test]
fn engines_on_threads_of_different_namespaces_each_have_a_node() {
    let nodes: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(|| {
                on_a_node(async || {
                    let (folder, pod) = (folder(), Namespace::new());
                    let network = open(&folder, |config| {
                        config.bridge = "same".to_owned();
                        config.pod_cidr = Some("10.9.0.0/24".parse().unwrap());
                    })
                    .await
                    .unwrap();
                    let addresses = attach(&network, "a", &pod).await.unwrap();
                    assert_talks(addresses.ips[0], &pod, None);
                });
            })
        })
        .collect();
    nodes.into_iter().for_each(|node| node.join().unwrap());
}
