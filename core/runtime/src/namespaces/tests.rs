use super::*;

fn config() -> NamespaceConfig {
    NamespaceConfig {
        network: true,
        ipc: true,
        hostname: "web-0".into(),
        sysctls: BTreeMap::from([
            ("net.ipv4.ip_unprivileged_port_start".to_owned(), "80".to_owned()),
            ("kernel.shmmni".to_owned(), "123".to_owned()),
        ]),
    }
}

/// What a process in the pinned namespaces sees.
fn inside<T: Send + 'static>(namespaces: Namespaces, look: fn() -> T) -> T {
    on_own_thread("look", move || {
        enter(&namespaces)?;
        Ok(look())
    })
    .unwrap()
}

fn may_pin() -> bool {
    can_pin().inspect_err(|why| println!("skipped: {why}")).is_ok()
}

#[test]
fn pinned_namespaces_are_set_up_and_go_without_a_trace() {
    if !may_pin() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("ns");
    let outside = fs::read_link("/proc/self/ns/net").unwrap();
    let namespaces = pin(&directory, &config()).unwrap();
    assert_eq!(pin(&directory, &config()).unwrap(), namespaces, "pinning twice is pinning once");

    let hostname = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(inside(namespaces.clone(), hostname), "web-0\n");
    let port = || fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert_eq!(inside(namespaces.clone(), port), "80\n");
    let shmmni = || fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    assert_eq!(inside(namespaces.clone(), shmmni), "123\n");
    let connect = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:7").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).is_ok()
    };
    assert!(inside(namespaces.clone(), connect), "loopback is up");
    assert_eq!(fs::read_link("/proc/self/ns/net").unwrap(), outside, "we stay where we were");

    unpin(&directory).unwrap();
    unpin(&directory).unwrap();
    assert!(!directory.exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*home.path().to_string_lossy()));
}

#[test]
fn a_pin_that_was_interrupted_is_completed() {
    if !may_pin() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("ns");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("net"), "").unwrap();
    assert_eq!(pinned(&directory), Namespaces::default(), "a file alone is no pin");
    let config = NamespaceConfig { network: true, ..NamespaceConfig::default() };
    assert!(pin(&directory, &config).unwrap().network.is_some());
    unpin(&directory).unwrap();
}

#[test]
fn sysctls_of_the_machine_are_refused() {
    let check = |name: &str, config: &NamespaceConfig| check_sysctl(name, config).is_ok();
    let all = config();
    assert!(check("net.core.somaxconn", &all));
    assert!(check("net/ipv4/conf/eth0.100/forwarding", &all));
    assert!(check("kernel.sem", &all));
    assert!(check("fs.mqueue.msg_max", &all));
    for refused in
        ["vm.swappiness", "kernel.pid_max", "net/../vm/swappiness", "net..core", "fs.file-max"]
    {
        assert!(!check(refused, &all), "{refused}");
    }
    let host_network = NamespaceConfig { network: false, ..all };
    assert!(!check("net.core.somaxconn", &host_network));
}

#[test]
fn either_separator_of_sysctls_is_understood() {
    assert_eq!(sysctl_path("net.ipv4.conf.eth0/100.mtu"), "net/ipv4/conf/eth0.100/mtu");
    assert_eq!(sysctl_path("net/ipv4/conf/eth0.100/mtu"), "net/ipv4/conf/eth0.100/mtu");
}
