//! Requests that are larger than any message may be: refused at every manager in the same words, and nothing is written.

use skep_proto::swarmkit::{Annotations, ConfigSpec, CreateConfigRequest};
use tonic::Code;

use crate::support::{cluster, create_surely, names};

/// What a request may take, at any manager of any kind.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

#[tokio::test]
async fn a_request_that_is_larger_than_a_message_is_refused_with_both_sizes() {
    let cluster = cluster(2).await;
    let spec = ConfigSpec {
        annotations: Some(Annotations { name: "large".into(), ..Default::default() }),
        data: vec![0; MESSAGE_BYTES_MAX].into(),
        ..Default::default()
    };
    for manager in &cluster.managers {
        let request = CreateConfigRequest { spec: Some(spec.clone()) };
        let status = manager.control_client().create_config(request).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains(&MESSAGE_BYTES_MAX.to_string()), "{status}");
    }
    create_surely(&cluster.managers[0], "small").await;
    for manager in &cluster.managers {
        assert_eq!(names(manager).await, ["small".to_owned()].into());
    }
}
