use pinnace_runtime::{ContainerConfig, Error, Mount, Propagation, RegistryAuth, Runtime};
use pinnace_test_harness::{BusyboxImage, Registry, why_no_registry};

use crate::world::{IMAGE, World, script};

#[tokio::test(flavor = "multi_thread")]
async fn archives_and_layouts_are_imported_and_named() {
    let Some(world) = World::without_image().await else { return };
    let path = |name: &str| world.containerd.path(name);
    let runtime = world.runtime();
    assert_eq!(runtime.image("busybox:a").await.unwrap(), None);
    BusyboxImage::new("busybox:a").write_archive(&path("a.tar")).unwrap();
    let images = runtime.import_image(&path("a.tar")).await.unwrap();
    assert_eq!(images.len(), 1);
    let image = &images[0];
    assert_eq!(image.tags, ["docker.io/library/busybox:a"]);
    assert!(image.id.starts_with("sha256:") && image.size > 0);
    for name in ["busybox:a", "docker.io/library/busybox:a", &image.id, &image.digests[0]] {
        assert_eq!(runtime.image(name).await.unwrap().as_ref(), Some(image), "{name}");
    }

    // A tag alone belongs to an image that is named as the archive.
    BusyboxImage::new("v1").write_layout(&path("tool")).unwrap();
    let images = runtime.import_image(&path("tool")).await.unwrap();
    assert!(images[0].tags.contains(&"docker.io/library/tool:v1".to_owned()), "{images:?}");
    let mut other = BusyboxImage::new("example.com/team/other:2");
    other.environment.push("MORE=1".into());
    other.write_docker_archive(&path("d.tar")).unwrap();
    let images = runtime.import_image(&path("d.tar")).await.unwrap();
    assert_eq!(images[0].tags, ["example.com/team/other:2"]);
    assert_eq!(runtime.list_images().await.unwrap().len(), 2);

    let pod = world.make_pod("p1").await;
    let config = pinnace_runtime::ContainerConfig {
        image: "example.com/team/other:2".into(),
        ..script("main", "echo $MORE")
    };
    assert_eq!(world.output(&pod, config).await.1, "1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_archive_is_refused() {
    let Some(world) = World::without_image().await else { return };
    let layout = world.containerd.path("layout");
    BusyboxImage::new(IMAGE).write_layout(&layout).unwrap();
    let largest = std::fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let whole = std::fs::read(&largest).unwrap();
    let refused = async |what: &str, path: &std::path::Path| {
        let error = world.runtime().import_image(path).await.unwrap_err();
        assert!(matches!(error, Error::InvalidImage { .. }), "{what}: {error}");
        assert_eq!(world.runtime().image(IMAGE).await.unwrap(), None, "{what}");
    };
    let mut changed = whole.clone();
    changed[1000] ^= 1;
    std::fs::write(&largest, &changed).unwrap();
    refused("one wrong bit", &layout).await;
    std::fs::write(&largest, &whole[..whole.len() / 2]).unwrap();
    refused("a short layer", &layout).await;
    std::fs::remove_file(&largest).unwrap();
    refused("a missing layer", &layout).await;

    let archive = world.containerd.path("whole.tar");
    BusyboxImage::new(IMAGE).write_archive(&archive).unwrap();
    let data = std::fs::read(&archive).unwrap();
    let short = world.containerd.path("short.tar");
    std::fs::write(&short, &data[..data.len() / 3]).unwrap();
    refused("an archive that ends early", &short).await;
    std::fs::write(&short, b"nonsense").unwrap();
    refused("no archive", &short).await;
    refused("no file", &world.containerd.path("none.tar")).await;
    // The whole one still goes in after all that.
    world.runtime().import_image(&archive).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pulled_from_a_registry() {
    let Some(world) = World::without_image().await else { return };
    if let Some(reason) = why_no_registry() {
        eprintln!("skipped: {reason}");
        return;
    }
    let registry = Registry::start().unwrap();
    let (name, digest) = registry.push(&BusyboxImage::new("x"), "team/busybox", "1").unwrap();
    let runtime = world.runtime();
    let image = runtime.pull_image(&name, None).await.unwrap();
    assert_eq!(image.tags, std::slice::from_ref(&name));
    let by_digest = format!("{}/team/busybox@{digest}", registry.address());
    assert_eq!(image.digests, std::slice::from_ref(&by_digest));
    assert_eq!(runtime.pull_image(&by_digest, None).await.unwrap().id, image.id);
    let pod = world.make_pod("p1").await;
    let config = pinnace_runtime::ContainerConfig { image: name, ..script("main", "echo pulled") };
    assert_eq!(world.output(&pod, config).await.1, "pulled\n");

    for missing in ["team/busybox:2", "team/none:1"] {
        let missing = format!("{}/{missing}", registry.address());
        let error = runtime.pull_image(&missing, None).await.unwrap_err();
        assert!(matches!(error, Error::ImageNotFound { .. }), "{error}");
    }
    let error = runtime.pull_image("127.0.0.1:1/nobody:1", None).await.unwrap_err();
    assert!(matches!(error, Error::Pull { .. }), "{error}");
    let error = runtime.pull_image("Not/A/Name", None).await.unwrap_err();
    assert!(matches!(error, Error::InvalidImage { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_platforms_only_this_machines_is_fetched() {
    let Some(world) = World::without_image().await else { return };
    let runtime = world.runtime();
    let mut image = BusyboxImage::new("busybox:many");
    image.multi_platform = true;
    let archive = world.containerd.path("many.tar");
    image.write_archive(&archive).unwrap();
    let imported = runtime.import_image(&archive).await.unwrap();
    let alone = world.containerd.path("alone.tar");
    BusyboxImage::new("busybox:alone").write_archive(&alone).unwrap();
    assert_eq!(runtime.import_image(&alone).await.unwrap()[0].id, imported[0].id);
    let pod = world.make_pod("p1").await;
    let run = async |name: &str, image: &str| {
        let config =
            pinnace_runtime::ContainerConfig { image: image.into(), ..script(name, "echo mine") };
        assert_eq!(world.output(&pod, config).await.1, "mine\n");
    };
    run("imported", "busybox:many").await;
    if let Some(reason) = why_no_registry() {
        eprintln!("pulling skipped: {reason}");
        return;
    }
    let registry = Registry::start().unwrap();
    let (name, digest) = registry.push(&image, "busybox", "many").unwrap();
    let pulled = runtime.pull_image(&name, None).await.unwrap();
    assert_eq!(pulled.id, imported[0].id);
    let by_digest = format!("{}/busybox@{digest}", registry.address());
    assert!(pulled.digests.contains(&by_digest), "{pulled:?}");
    run("pulled", &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_want_a_password() {
    let Some(world) = World::without_image().await else { return };
    if let Some(reason) = why_no_registry() {
        eprintln!("skipped: {reason}");
        return;
    }
    let registry = Registry::start_with_password().unwrap();
    let (name, _) = registry.push(&BusyboxImage::new("x"), "busybox", "1").unwrap();
    let error = world.runtime().pull_image(&name, None).await.unwrap_err();
    assert!(matches!(error, Error::Pull { .. }), "{error}");
    let auth = RegistryAuth::Basic { username: "user".into(), password: "secret".into() };
    let image = world.runtime().pull_image(&name, Some(&auth)).await.unwrap();
    assert_eq!(image.tags, [name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_sends_something_else_is_refused() {
    let Some(world) = World::without_image().await else { return };
    if let Some(reason) = why_no_registry() {
        eprintln!("skipped: {reason}");
        return;
    }
    let registry = Registry::start().unwrap();
    let (name, _) = registry.push(&BusyboxImage::new("x"), "busybox", "1").unwrap();
    for entry in std::fs::read_dir(registry.data().join("docker/registry/v2/blobs/sha256")).unwrap()
    {
        for blob in std::fs::read_dir(entry.unwrap().path()).unwrap() {
            let path = blob.unwrap().path().join("data");
            let mut data = std::fs::read(&path).unwrap();
            // The largest blob is a layer; the registry checks manifests itself.
            if data.len() > 100_000 {
                data[1000] ^= 1;
                std::fs::write(&path, data).unwrap();
            }
        }
    }
    let error = world.runtime().pull_image(&name, None).await.unwrap_err();
    assert!(matches!(error, Error::Pull { .. } | Error::InvalidImage { .. }), "{error}");
    assert_eq!(world.runtime().image(&name).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_a_volume_that_goes_with_the_pod() {
    let Some(mut world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let place = world.runtime().mount_image(&pod, IMAGE).await.unwrap();
    assert_eq!(world.runtime().mount_image(&pod, IMAGE).await.unwrap(), place);
    let mount = Mount {
        host_path: place.clone(),
        container_path: "/volume".into(),
        read_only: true,
        recursive_read_only: false,
        propagation: Propagation::None,
    };
    let show = "cat /volume/etc/passwd | head -n 1; touch /volume/x 2>/dev/null || echo refused";
    let config = ContainerConfig { mounts: vec![mount], ..script("main", show) };
    let (_, output) = world.output(&pod, config).await;
    assert!(output.starts_with("root:") && output.ends_with("refused\n"), "{output}");
    world.restart_runtime().await;
    world.runtime().remove_pod(&pod).await.unwrap();
    assert!(!place.exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*place.to_string_lossy()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_with_all_its_names() {
    let Some(world) = World::new().await else { return };
    let runtime = world.runtime();
    world.ctr(&["images", "tag", IMAGE, "docker.io/library/other:test"]);
    let [image] = &runtime.list_images().await.unwrap()[..] else { panic!("one image") };
    assert_eq!(image.tags.len(), 2);
    let directory = runtime.image_directory().await.unwrap().unwrap();
    assert!(directory.is_dir() && directory.ends_with("io.containerd.snapshotter.v1.overlayfs"));
    runtime.remove_image(&image.id).await.unwrap();
    runtime.remove_image(&image.id).await.unwrap();
    assert_eq!(runtime.list_images().await.unwrap(), []);
    assert!(!world.ctr(&["images", "list"]).contains("test"));
}
