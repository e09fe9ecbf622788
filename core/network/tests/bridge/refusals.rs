use std::path::Path;

use pinnace_network::{Error, PodAttachment, PodNetwork};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::support::{
    Namespace, attach, block_on, cables, folder, interfaces, on_a_node, on_a_thread, open,
};

#[test]
fn a_missing_privilege_is_told_apart() {
    for missing in [CapabilitySet::NET_ADMIN, CapabilitySet::SYS_ADMIN] {
        on_a_thread(move || {
            let mut own = capabilities(None).unwrap();
            own.effective.remove(missing);
            set_capabilities(None, own).unwrap();
            let folder = folder();
            let bridge = block_on(open(&folder, |_| {}));
            let error = bridge.err().expect("a refusal");
            assert!(error.is_unavailable(), "{error}");
            assert!(error.to_string().contains("needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), "{error}");
        });
    }
}

#[test]
fn a_path_that_is_no_namespace_costs_no_address() {
    on_a_node(async || {
        let folder = folder();
        let file = folder.path().join("file");
        std::fs::write(&file, "not a namespace").unwrap();
        let network = open(&folder, |config| {
            config.pod_cidr = Some("10.77.0.0/30".parse().unwrap());
        })
        .await
        .unwrap();
        for path in [Path::new("/nowhere/netns"), &file] {
            let attachment = PodAttachment { pod_uid: "a", namespace: path };
            let error = network.attach(&attachment).await.unwrap_err();
            let Error::NamespaceUnavailable { path: named, .. } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(named, path);
        }
        assert_eq!(cables(), 0);
        attach(&network, "b", &Namespace::new()).await.unwrap();
    });
}

#[test]
fn a_namespace_that_is_connected_already_is_left_as_it_is() {
    on_a_node(async || {
        let (folder, pod) = (folder(), Namespace::new());
        let network = open(&folder, |_| {}).await.unwrap();
        attach(&network, "a", &pod).await.unwrap();
        let error = attach(&network, "b", &pod).await.unwrap_err();
        assert!(matches!(error, Error::InterfaceExists { interface: "eth0", .. }), "{error}");
        assert_eq!(cables(), 1);
        assert_eq!(pod.run(interfaces).len(), 2);
    });
}

#[test]
fn ranges_in_use_and_bridges_of_others_are_refused() {
    on_a_node(async || {
        let (one, other) = (folder(), folder());
        let cidr = Some("10.77.0.0/24".parse().unwrap());
        let first = open(&one, |config| config.pod_cidr = cidr).await.unwrap();

        let error = open(&other, |config| config.pod_cidr = cidr).await.err().unwrap();
        assert!(
            matches!(&error, Error::CidrInUse { interface, .. } if interface == first.bridge())
        );
        let bridge = first.bridge().to_owned();
        let error = open(&other, |config| config.bridge = bridge).await.err().unwrap();
        assert!(matches!(error, Error::BridgeTaken { .. }), "{error}");
        let error = open(&other, |config| config.bridge = "lo".to_owned()).await.err().unwrap();
        assert!(matches!(error, Error::BridgeTaken { .. }), "{error}");

        let pod = Namespace::new();
        attach(&first, "a", &pod).await.unwrap();
        let other_range = Some("10.78.0.0/24".parse().unwrap());
        let error = open(&one, |config| config.pod_cidr = other_range).await.err().unwrap();
        assert!(matches!(error, Error::BridgeTaken { .. }), "{error}");
        first.detach("a").await.unwrap();
        let moved = open(&one, |config| config.pod_cidr = other_range).await.unwrap();
        assert_eq!(moved.pod_cidrs(), ["10.78.0.0/24".parse().unwrap()]);
    });
}
