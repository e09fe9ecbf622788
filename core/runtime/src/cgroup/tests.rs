use super::*;

const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const V1: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

#[test]
fn both_layouts_are_found() {
    let v1 = Cgroups::from_mountinfo(V1, "/pinnace/").unwrap();
    assert_eq!(v1.version(), Version::V1);
    let pod = v1.pod("u", QosClass::Burstable);
    assert_eq!(pod.child("c").oci_path(), "/pinnace/kubepods/burstable/podu/c");
    assert_eq!(pod.directories().len(), 5);
    let v2 = Cgroups::from_mountinfo(V2, "pinnace").unwrap();
    assert_eq!(v2.version(), Version::V2);
    assert_eq!(
        v2.pod("u", QosClass::Guaranteed).directories(),
        [PathBuf::from("/sys/fs/cgroup/pinnace/kubepods/podu")]
    );
    assert!(Cgroups::from_mountinfo("", "pinnace").is_err());
    assert!(Cgroups::from_mountinfo(V2, "a/../..").is_err());
    assert!(Cgroups::from_mountinfo(V2, "").is_err());
}

/// A directory in place of the real file system shows what would be written.
#[test]
fn version_2_gets_controllers_on_the_way_down_and_limits() {
    let home = tempfile::tempdir().unwrap();
    let line = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", home.path().display());
    let pod = Cgroups::from_mountinfo(&line, "p").unwrap().pod("u", QosClass::Guaranteed);
    let limits = Resources {
        cpu_request_millis: 1000,
        cpu_limit_millis: 1500,
        memory_limit_bytes: 1 << 20,
        ..Resources::default()
    };
    pod.create(&limits).unwrap();
    let read = |path: &str| fs::read_to_string(home.path().join("p").join(path)).unwrap();
    assert_eq!(read("kubepods/podu/cpu.max"), "150000 100000");
    assert_eq!(read("kubepods/podu/cpu.weight"), "100");
    assert_eq!(read("kubepods/podu/memory.max"), "1048576");
    assert_eq!(read("kubepods/podu/pids.max"), "max");
    assert!(home.path().join("cgroup.subtree_control").exists());
    assert!(home.path().join("p/kubepods/cgroup.subtree_control").exists());
    assert!(!home.path().join("p/kubepods/podu/cgroup.subtree_control").exists());
}

/// Groups of this machine under a name of the test's own, removed at its end.
struct Real(Cgroups);

impl Real {
    fn new(name: &str) -> Option<Self> {
        let root = format!("pinnace-test-{name}-{}", std::process::id());
        let cgroups = Cgroups::detect(&root).and_then(|all| all.can_write().map(|()| all));
        cgroups.inspect_err(|why| println!("skipped: {why}")).ok().map(Self)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.0.all().remove().unwrap();
        assert!(!self.0.all().exists());
    }
}

fn sleeper() -> std::process::Child {
    std::process::Command::new("sleep").arg("1000").spawn().unwrap()
}

#[test]
fn members_of_a_pod_are_listed_killed_and_removed_with_it() {
    let Some(real) = Real::new("members") else { return };
    let pod = real.0.pod("u", QosClass::BestEffort);
    pod.create(&Resources { pids_limit: 10, ..Resources::default() }).unwrap();
    let container = pod.child("c");
    container.create(&Resources { memory_limit_bytes: 64 << 20, ..Resources::default() }).unwrap();
    let mut child = sleeper();
    container.add(child.id()).unwrap();
    assert_eq!(pod.members().unwrap(), [child.id()]);
    assert_eq!(pod.usage().unwrap().pids, 1);
    container.kill().unwrap();
    container.kill().unwrap();
    let status = std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap());
    assert_eq!(status, Some(9));
    pod.remove().unwrap();
    pod.remove().unwrap();
    assert!(!pod.exists());
    assert!(pod.usage().is_err());
}

#[test]
fn limits_are_in_the_kernel_and_can_be_lifted() {
    let Some(real) = Real::new("limits") else { return };
    let pod = real.0.pod("u", QosClass::Burstable);
    let limits = Resources {
        cpu_limit_millis: 500,
        memory_limit_bytes: 64 << 20,
        pids_limit: 7,
        ..Resources::default()
    };
    pod.create(&limits).unwrap();
    let memory = |pod: &Cgroup| {
        let file = match real.0.version() {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        pod.read("memory", file).unwrap().trim().to_owned()
    };
    assert_eq!(memory(&pod), (64 << 20).to_string());
    assert_eq!(pod.read("pids", "pids.max").unwrap().trim(), "7");
    pod.update(&Resources::default()).unwrap();
    assert_ne!(memory(&pod), (64 << 20).to_string());
    assert_eq!(pod.read("pids", "pids.max").unwrap().trim(), "max");
}

#[test]
fn what_a_joined_thread_starts_is_a_member_and_this_process_is_not() {
    let Some(real) = Real::new("thread") else { return };
    let pod = real.0.pod("u", QosClass::Burstable);
    pod.create(&Resources::default()).unwrap();
    if real.0.version() == Version::V2 {
        assert!(!pod.join_with_thread().unwrap());
        return;
    }
    let (started, child) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let pod = &pod;
    std::thread::scope(move |threads| {
        threads.spawn(move || {
            assert!(pod.join_with_thread().unwrap());
            started.send(sleeper()).unwrap();
            // Stays until the other end is gone.
            let _ = ended.recv();
        });
        let mut child = child.recv().unwrap();
        assert_eq!(pod.members().unwrap(), [child.id()]);
        pod.kill().unwrap();
        child.wait().unwrap();
        drop(end);
    });
}

#[test]
fn a_class_weighs_what_its_pods_have_asked_for() {
    let Some(real) = Real::new("classes") else { return };
    let asking = |millis| Resources { cpu_request_millis: millis, ..Resources::default() };
    let weights = || {
        [QosClass::Burstable, QosClass::BestEffort].map(|class| {
            let file = match real.0.version() {
                Version::V1 => "cpu.shares",
                Version::V2 => "cpu.weight",
            };
            let weight = real.0.class(class).read("cpu", file);
            weight.map_or(0, |text| text.trim().parse::<u64>().unwrap())
        })
    };
    let expected = |burstable: u64, best_effort: u64| {
        [burstable, best_effort]
            .map(|millis| settings::weight_of(&real.0.layout, millis).value.parse::<u64>().unwrap())
    };
    real.0.create_pod("a", QosClass::Burstable, &asking(500)).unwrap();
    real.0.create_pod("b", QosClass::Burstable, &asking(1000)).unwrap();
    real.0.create_pod("c", QosClass::BestEffort, &asking(0)).unwrap();
    real.0.create_pod("d", QosClass::Guaranteed, &asking(4000)).unwrap();
    assert_eq!(weights(), expected(1500, 0));
    real.0.update_pod("a", QosClass::Burstable, &asking(2000)).unwrap();
    assert_eq!(weights(), expected(3000, 0));
    real.0.remove_pod("b", QosClass::Burstable).unwrap();
    assert_eq!(weights(), expected(2000, 0));
    // Another process goes on counting.
    let next = Cgroups::detect(&real.0.root).unwrap();
    next.adopt_pod("a", QosClass::Burstable, &asking(2000)).unwrap();
    next.create_pod("e", QosClass::Burstable, &asking(1000)).unwrap();
    assert_eq!(weights(), expected(3000, 0));
}
