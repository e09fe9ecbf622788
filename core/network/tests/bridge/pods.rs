use std::{
    collections::HashSet,
    fs,
    future::Future,
    net::{IpAddr, UdpSocket},
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    task,
};

use futures::{FutureExt, future::join_all};
use pinnace_network::{Error, PodNetwork};

use crate::support::{
    Namespace, assert_talks, attach, block_on, cables, folder, interfaces, on_a_node, on_a_thread,
    open,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn pods_are_reached_from_the_host_and_from_each_other() {
    on_a_node(async || {
        let own = || fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        let before = own();
        let folder = folder();
        let network = open(&folder, |config| {
            config.pod_cidr = Some("10.77.0.0/24".parse().unwrap());
            config.pod_cidr_v6 = Some("fd00:77::/64".parse().unwrap());
        })
        .await
        .unwrap();
        let (one, two) = (Namespace::new(), Namespace::new());
        let first = attach(&network, "one", &one).await.unwrap();
        let second = attach(&network, "two", &two).await.unwrap();
        assert_eq!(first.ips, [ip("10.77.0.2"), ip("fd00:77::2")]);
        assert_eq!(first.gateways, [ip("10.77.0.1"), ip("fd00:77::1")]);
        assert_eq!(second.ips, [ip("10.77.0.3"), ip("fd00:77::3")]);
        for ip in first.ips {
            assert_talks(ip, &one, None);
            assert_talks(ip, &one, Some(&two));
        }
        assert_talks(ip("127.0.0.1"), &one, Some(&one));
        assert_eq!(before, own(), "the caller's thread must stay where it is");
    });
}

#[test]
fn the_default_route_leads_to_the_gateway() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let network = open(&folder, |config| {
            config.pod_cidr_v6 = Some("fd00:77::/64".parse().unwrap());
        })
        .await
        .unwrap();
        let addresses = attach(&network, "one", &pod).await.unwrap();
        for (ip, (any, far)) in addresses
            .ips
            .into_iter()
            .zip([("0.0.0.0:0", "198.51.100.1:9"), ("[::]:0", "[2001:db8::1]:9")])
        {
            let from = pod.run(move || {
                let socket = UdpSocket::bind(any).unwrap();
                socket.connect(far).unwrap();
                socket.local_addr().unwrap().ip()
            });
            assert_eq!(from, ip, "packets to {far} leave by the pod's own address");
        }
    });
}

#[test]
fn detaching_removes_the_cable_and_frees_the_address() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let network = open(&folder, |config| {
            config.pod_cidr = Some("10.77.0.0/30".parse().unwrap());
        })
        .await
        .unwrap();
        let addresses = attach(&network, "one", &pod).await.unwrap();
        assert_eq!(cables(), 1);
        network.detach("one").await.unwrap();
        network.detach("one").await.unwrap();
        assert_eq!(cables(), 0);
        assert!(network.attached().await.unwrap().is_empty());
        assert_eq!(attach(&network, "two", &pod).await.unwrap(), addresses);

        drop(pod);
        network.detach("two").await.unwrap();
        attach(&network, "three", &Namespace::new()).await.unwrap();
    });
}

#[test]
fn attaching_again_keeps_the_addresses_also_in_a_new_namespace() {
    on_a_node(async || {
        let (folder, old, new) = (folder(), Namespace::new(), Namespace::new());
        let network = open(&folder, |_| {}).await.unwrap();
        let addresses = attach(&network, "one", &old).await.unwrap();
        assert_eq!(attach(&network, "one", &old).await.unwrap(), addresses);
        assert_eq!(attach(&network, "one", &new).await.unwrap(), addresses);
        assert_eq!(old.run(interfaces), ["lo"]);
        assert_talks(addresses.ips[0], &new, None);
    });
}

#[test]
fn many_pods_at_once_get_an_address_each() {
    const PODS: usize = 40;
    on_a_node(async || {
        let folder = folder();
        let network = open(&folder, |_| {}).await.unwrap();
        let pods: Vec<_> = (0..PODS).map(|_| Namespace::new()).collect();
        let uids: Vec<_> = (0..PODS).map(|number| format!("pod-{number}")).collect();
        let mut attaching: Vec<_> =
            pods.iter().zip(&uids).map(|(pod, uid)| Box::pin(attach(&network, uid, pod))).collect();
        // All are under way before the first is waited for.
        for attach in &mut attaching {
            let _ = attach.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop()));
        }
        let mut ips = HashSet::new();
        for (attach, pod) in attaching.into_iter().zip(&pods) {
            let addresses = attach.await.unwrap();
            assert!(ips.insert(addresses.ips[0]));
            assert_talks(addresses.ips[0], pod, None);
        }
        let (leaving, staying) = uids.split_at(PODS / 2);
        for detached in join_all(leaving.iter().map(|uid| network.detach(uid))).await {
            detached.unwrap();
        }
        assert_eq!(cables(), staying.len());
        assert_eq!(network.attached().await.unwrap().len(), staying.len());
        network.shutdown(false).await.unwrap();
        assert_eq!(interfaces(), ["lo"]);
    });
}

#[test]
fn an_attach_that_nobody_waits_for_is_cleaned_up_by_detach() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let network = open(&folder, |_| {}).await.unwrap();
        {
            let mut attaching = pin!(attach(&network, "one", &pod));
            let mut context = task::Context::from_waker(task::Waker::noop());
            assert!(attaching.as_mut().poll(&mut context).is_pending());
        }
        network.detach("one").await.unwrap();
        assert!(network.attached().await.unwrap().is_empty());
        assert_eq!(cables(), 0);
    });
}

#[test]
fn the_last_address_given_is_followed_by_a_clear_refusal() {
    on_a_node(async || {
        let folder = folder();
        let network = open(&folder, |config| {
            config.pod_cidr = Some("10.77.0.0/29".parse().unwrap());
        })
        .await
        .unwrap();
        let pods: Vec<_> = (0..6).map(|_| Namespace::new()).collect();
        for (number, pod) in pods[..5].iter().enumerate() {
            attach(&network, &format!("pod-{number}"), pod).await.unwrap();
        }
        let error = attach(&network, "pod-5", &pods[5]).await.unwrap_err();
        assert!(matches!(error, Error::AddressesExhausted { capacity: 5, .. }), "{error}");
        network.detach("pod-3").await.unwrap();
        let addresses = attach(&network, "pod-5", &pods[5]).await.unwrap();
        assert_eq!(addresses.ips, [ip("10.77.0.5")]);
    });
}

/// The one test in the namespace of the machine itself, with its firewall and its routes.
#[test]
fn it_works_beside_what_the_machine_has() {
    on_a_thread(|| {
        block_on(async {
            let folder = folder();
            let network = match open(&folder, |_| {}).await {
                Ok(network) => network,
                Err(error) if error.is_unavailable() => {
                    eprintln!("skipped: {error}");
                    return;
                }
                Err(error) => panic!("{error}"),
            };
            let bridge = network.bridge().to_owned();
            // Cleaned up before it is judged, whatever went wrong.
            let attempt = AssertUnwindSafe(async {
                let pod = Namespace::new();
                let addresses = attach(&network, "one", &pod).await.unwrap();
                assert_talks(addresses.ips[0], &pod, None);
            });
            let outcome = attempt.catch_unwind().await;
            network.shutdown(false).await.unwrap();
            assert!(!interfaces().contains(&bridge));
            outcome.unwrap_or_else(|panic| resume_unwind(panic));
        });
    });
}
