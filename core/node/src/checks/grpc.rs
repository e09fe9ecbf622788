use http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::{Outcome, authority};

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// The statuses by number; 1 is the good one.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: i32 = 1;

/// Whether a service says that it serves.
pub(crate) async fn check(host: &str, port: u16, service: &str) -> Outcome {
    match ask(host, port, service).await {
        Ok(SERVING) => Outcome::Success,
        Ok(status) => {
            let name = usize::try_from(status).ok().and_then(|at| STATUSES.get(at));
            let name = name.copied().unwrap_or("UNKNOWN");
            Outcome::Failure(format!("service unhealthy (responded with {name:?})"))
        }
        Err(message) => Outcome::Failure(message),
    }
}

async fn ask(host: &str, port: u16, service: &str) -> Result<i32, String> {
    let address = authority(host, port);
    let failed = |error: &dyn std::error::Error| {
        format!(
            "error: failed to connect service {address:?}: {}",
            crate::pod::set_up::chain(error)
        )
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| failed(&e))?;
    let endpoint = endpoint.user_agent(super::http::USER_AGENT).map_err(|e| failed(&e))?;
    let channel = endpoint.connect().await.map_err(|e| failed(&e))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| failed(&e))?;
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let answer = client.unary(request, PathAndQuery::from_static(METHOD), codec).await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().status),
        Err(status) if status.code() == Code::Unimplemented => Err(format!(
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Err(format!("error: health rpc probe failed: {}", status.message())),
    }
}
