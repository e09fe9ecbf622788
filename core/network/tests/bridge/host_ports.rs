use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use pinnace_network::{HostPort, PodNetwork as _, Protocol};

use rtnetlink::LinkUnspec;

use crate::support::{DEADLINE, Namespace, answer_once, attach, echo, folder, on_a_node, open};

const TCP: HostPort = HostPort { protocol: Protocol::Tcp, address: None, port: 8080, pod_port: 80 };

/// Has a pod answer one connection at its port 80.
fn serve(pod: &Namespace) -> std::thread::JoinHandle<()> {
    answer_once(pod.run(|| TcpListener::bind("0.0.0.0:80").expect("a listener")))
}

/// A node of nothing but a namespace has not even an address of its own.
async fn loopback_up() {
    let (connection, handle, _) = rtnetlink::new_connection().expect("a socket");
    let talking = tokio::spawn(connection);
    handle
        .link()
        .change(LinkUnspec::new_with_index(1).up().build())
        .execute()
        .await
        .expect("loopback");
    talking.abort();
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn ports_of_the_machine_lead_to_pods() {
    on_a_node(async || {
        loopback_up().await;
        let folder = folder();
        let network = open(&folder, |config| {
            config.pod_cidr = Some("10.77.0.0/24".parse().unwrap());
        })
        .await
        .unwrap();
        let (one, two) = (Namespace::new(), Namespace::new());
        let gateway = attach(&network, "one", &one).await.unwrap().gateways[0];
        attach(&network, "two", &two).await.unwrap();
        let udp = HostPort { protocol: Protocol::Udp, port: 5353, pod_port: 53, address: None };
        network.publish("one", &[TCP, udp]).await.unwrap();

        for host in [gateway, "127.0.0.1".parse::<IpAddr>().unwrap()] {
            let answering = serve(&one);
            assert_eq!(echo(SocketAddr::new(host, 8080)), "ahoy from the other side");
            answering.join().unwrap();
        }
        for client in [&two, &one] {
            let answering = serve(&one);
            let heard = client.run(move || echo(SocketAddr::new(gateway, 8080)));
            assert_eq!(heard, "ahoy from the other side", "of a pod by the machine");
            answering.join().unwrap();
        }
        let server = one.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.connect(SocketAddr::new(gateway, 5353)).unwrap();
        client.send(b"ask").unwrap();
        let mut heard = [0; 8];
        let (length, from) = server.recv_from(&mut heard).unwrap();
        server.send_to(&heard[..length], from).unwrap();
        assert_eq!(client.recv(&mut heard).unwrap(), 3);

        let refused = |address| std::net::TcpStream::connect_timeout(&address, DEADLINE).is_err();
        assert!(refused(SocketAddr::new("10.77.0.3".parse().unwrap(), 8080)), "another pod's own");
        network.detach("one").await.unwrap();
        assert!(refused(SocketAddr::new(gateway, 8080)), "it leads nowhere");
        assert!(!folder.path().join("host-ports").exists());
        network.shutdown(false).await.unwrap();
    });
}

#[test]
fn ports_of_one_address_outlive_the_program() {
    on_a_node(async || {
        loopback_up().await;
        let (folder, pod) = (folder(), Namespace::new());
        let network = open(&folder, |_| {}).await.unwrap();
        let gateway = attach(&network, "one", &pod).await.unwrap().gateways[0];
        let only = HostPort { address: Some(gateway), ..TCP };
        network.publish("one", &[only]).await.unwrap();
        network.shutdown(true).await.unwrap();
        drop(network);
        let again = open(&folder, |_| {}).await.unwrap();
        let answering = serve(&pod);
        let refused = std::net::TcpStream::connect_timeout(&at("127.0.0.1:8080"), DEADLINE);
        assert!(refused.is_err(), "at the other address");
        assert_eq!(echo(SocketAddr::new(gateway, 8080)), "ahoy from the other side");
        answering.join().unwrap();
        again.reconcile(&std::collections::HashSet::new()).await.unwrap();
        assert!(!folder.path().join("host-ports").exists());
        again.shutdown(false).await.unwrap();
    });
}
