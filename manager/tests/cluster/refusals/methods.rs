//! Every method that is not for workers, one by one.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Version};
use http_body_util::{BodyExt as _, Full};
use skep_api::routes::{Exposure, Listener, route};
use skep_proto::access::METHODS;
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::ServiceExt as _;

use super::scene::Scene;

/// An empty message, framed.
const EMPTY: &[u8] = &[0; 5];
/// What a manager says that passes a call on; from a worker it is a lie.
const FORGED: &[(&str, &str)] = &[
    ("forwarded_cert", "true"),
    ("forwarded_cert_cn", "manager"),
    ("forwarded_cert_org", "cluster"),
    ("forwarded_cert_ou", "swarm-manager"),
    ("remote_addr", "192.0.2.1:9"),
];

/// The status that a call of this method ends with.
async fn call(channel: &Channel, path: &'static str, headers: &[(&str, &str)]) -> Status {
    let mut request = Request::new(Body::new(Full::new(Bytes::from_static(EMPTY))));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    let map = request.headers_mut();
    map.insert("content-type", HeaderValue::from_static("application/grpc"));
    map.insert("te", HeaderValue::from_static("trailers"));
    for (name, value) in headers {
        map.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let response = channel.clone().oneshot(request).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let body = response.into_body().collect().await;
    let trailers = body.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
    Status::from_header_map(&trailers).unwrap_or_else(|| Status::unknown("no status"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_managers_is_refused_at_every_manager_and_changes_nothing() {
    let scene = Scene::new().await;
    let (intruder, neighbour) = (scene.station(0).await, scene.station(1).await);
    scene.run("own", &intruder.node_id).await;
    scene.run("other", &neighbour.node_id).await;
    let before = scene.stored_but("").await;
    let mut refused = 0;
    for (door, channel) in scene.doors(0).await {
        for method in METHODS.iter().filter(|m| !m.access.worker && !m.access.insecure) {
            for headers in [&[][..], FORGED] {
                let status = call(&channel, method.path, headers).await;
                let expected = match route(method.path).unwrap().on(Listener::Remote) {
                    Exposure::Absent => Code::Unimplemented,
                    Exposure::Here | Exposure::Leader => Code::PermissionDenied,
                };
                assert_eq!(status.code(), expected, "{} at {door}: {status}", method.path);
                assert_ne!(status.message(), "", "{} at {door}", method.path);
                refused += 1;
            }
        }
        // Open to workers, and this one asks for nothing that there is.
        for method in METHODS.iter().filter(|m| m.path.contains(".ResourceAllocator/")) {
            let status = call(&channel, method.path, &[]).await;
            let nothing = matches!(status.code(), Code::InvalidArgument | Code::NotFound);
            assert!(nothing, "{} at {door}: {status}", method.path);
            assert_ne!(status.message(), "", "{} at {door}", method.path);
        }
    }
    assert!(refused >= 4 * 52, "{refused}");
    assert_eq!(scene.stored_but("").await, before);
}
