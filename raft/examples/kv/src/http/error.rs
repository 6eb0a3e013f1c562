//! Errors as clients see them: a status that says whether it was done, and a text.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::RETRY_AFTER};
use serde::Serialize;
use skep_raft_peers::GroupError;

use crate::member::{ExpelError, RequestError};

/// An answer that is an error. `503`: not done, and will not be. `504`: nobody knows.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    text: String,
}

#[derive(Serialize)]
struct Body {
    error: String,
}

impl HttpError {
    pub fn new(status: StatusCode, text: impl Into<String>) -> HttpError {
        HttpError { status, text: text.into() }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let retry = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let mut response = (self.status, Json(Body { error: self.text })).into_response();
        if retry {
            response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RequestError> for HttpError {
    fn from(error: RequestError) -> HttpError {
        let status = match error {
            RequestError::Invalid(_) => StatusCode::BAD_REQUEST,
            RequestError::NotDone(_) => StatusCode::SERVICE_UNAVAILABLE,
            RequestError::Unknown(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        HttpError::new(status, error.to_string())
    }
}

impl From<ExpelError> for HttpError {
    fn from(error: ExpelError) -> HttpError {
        let status = match &error {
            ExpelError::Request(request) => return request.clone().into(),
            ExpelError::Group(GroupError::Unknown(_)) => StatusCode::NOT_FOUND,
            ExpelError::Group(GroupError::Refused(_)) => StatusCode::CONFLICT,
            ExpelError::Group(GroupError::Unavailable(_)) => StatusCode::GATEWAY_TIMEOUT,
        };
        HttpError::new(status, error.to_string())
    }
}

pub async fn no_such_place(uri: http::Uri) -> HttpError {
    let text = format!("there is nothing at {}; see docs/kv.md", uri.path());
    HttpError::new(StatusCode::NOT_FOUND, text)
}
