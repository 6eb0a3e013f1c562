//! Logs: a worker hears of what concerns it, and speaks of its own tasks alone.

use bytes::Bytes;
use skep_proto::swarmkit::{
    ListenSubscriptionsRequest, LogContext, LogMessage, LogSelector, LogSubscriptionOptions,
    PublishLogsMessage, PublishLogsResponse, SubscribeLogsMessage, SubscribeLogsRequest,
    SubscriptionMessage, Task, log_broker_client::LogBrokerClient, logs_client::LogsClient,
};
use skep_testkit::skepd_process::SETTLE_LIMIT;
use tonic::{Code, Response, Status, Streaming, transport::Channel};

use super::scene::{Scene, Station, refusal};

async fn listen(station: &Station) -> Streaming<SubscriptionMessage> {
    let request = ListenSubscriptionsRequest::default();
    station.logs().listen_subscriptions(request).await.unwrap().into_inner()
}

async fn next<T>(stream: &mut Streaming<T>) -> T {
    let message = tokio::time::timeout(SETTLE_LIMIT, stream.message()).await;
    message.expect("a message in time").unwrap().expect("the stream goes on")
}

/// Follows the logs of these services, as an operator.
async fn follow(scene: &Scene, services: &[&str]) -> Streaming<SubscribeLogsMessage> {
    let selector = LogSelector {
        service_ids: services.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    };
    let options = LogSubscriptionOptions { follow: true, ..Default::default() };
    let request = SubscribeLogsRequest { selector: Some(selector), options: Some(options) };
    LogsClient::new(scene.control_channel()).subscribe_logs(request).await.unwrap().into_inner()
}

async fn publish(
    channel: &Channel,
    subscription: &str,
    context: LogContext,
    text: &'static str,
) -> Result<Response<PublishLogsResponse>, Status> {
    let message = LogMessage {
        context: Some(context),
        data: Bytes::from_static(text.as_bytes()),
        ..Default::default()
    };
    let subscription_id = subscription.to_owned();
    let first = PublishLogsMessage {
        subscription_id: subscription_id.clone(),
        messages: vec![message],
        close: false,
    };
    let last = PublishLogsMessage { subscription_id, messages: vec![], close: true };
    let messages = tokio_stream::iter([first, last]);
    LogBrokerClient::new(channel.clone()).publish_logs(messages).await
}

fn about(task: &Task, node_id: &str) -> LogContext {
    LogContext {
        service_id: task.service_id.clone(),
        node_id: node_id.to_owned(),
        task_id: task.id.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_speaks_of_its_own_tasks_to_those_that_asked_for_them() {
    let scene = Scene::new().await;
    let (intruder, neighbour) = (scene.station(0).await, scene.station(1).await);
    let own = scene.run("own", &intruder.node_id).await;
    let other = scene.run("other", &neighbour.node_id).await;
    let (mut told, mut told_neighbour) = (listen(&intruder).await, listen(&neighbour).await);

    let mut reading = follow(&scene, &[&other.service_id]).await;
    let foreign = next(&mut told_neighbour).await.id;
    let _both = follow(&scene, &[&own.service_id, &other.service_id]).await;
    let shared = next(&mut told_neighbour).await.id;
    assert_eq!(next(&mut told).await.id, shared, "it is not told of what does not concern it");

    let (me, it) = (intruder.node_id.as_str(), neighbour.node_id.as_str());
    let unknown = || (Code::NotFound, "unknown subscription ID".to_owned());
    let denied = |text: String| (Code::PermissionDenied, text);
    let not_assigned = |task: &Task, service: &str| {
        denied(format!(
            "cannot publish logs of task {}, which is not assigned to this node or not of service {service}",
            task.id
        ))
    };
    let mixed = LogContext { service_id: other.service_id.clone(), ..about(&own, me) };
    let unheard_of =
        LogContext { task_id: "gone".into(), service_id: "gone".into(), ..mixed.clone() };
    let nobodys = LogContext::default();
    let node_id =
        |claimed: &str| denied(format!("invalid NodeID: expected={me};received={claimed}"));
    let table = [
        (foreign.as_str(), about(&own, me), unknown()),
        (&foreign, about(&other, it), unknown()),
        ("nothing", about(&own, me), unknown()),
        ("", about(&own, me), (Code::InvalidArgument, "missing subscription ID".to_owned())),
        (&shared, about(&other, it), node_id(it)),
        (&shared, about(&own, it), node_id(it)),
        (&shared, nobodys, node_id("")),
        (&shared, about(&other, me), not_assigned(&other, &other.service_id)),
        (&shared, mixed, not_assigned(&own, &other.service_id)),
        (
            &shared,
            unheard_of,
            denied("cannot publish logs of task gone, which nobody asked for".to_owned()),
        ),
    ];
    for (door, channel) in scene.doors(0).await {
        for (subscription, context, expected) in &table {
            let answer = publish(&channel, subscription, context.clone(), "forged").await;
            assert_eq!(refusal(answer), *expected, "{door}, {context:?}");
        }
    }

    // The first that the operator reads is what the neighbour itself says.
    for (_, channel) in scene.doors(1).await {
        publish(&channel, &foreign, about(&other, it), "true").await.unwrap();
        let read = next(&mut reading).await.messages;
        let texts: Vec<_> = read.iter().map(|message| &message.data[..]).collect();
        assert_eq!(texts, [b"true"]);
    }
}
