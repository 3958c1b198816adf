//! What a sender is told, in his own form: as the protocol has it, protobuf or JSON.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use crate::program::collect::decode::{Form, Signal};

/// The body of an error: google.rpc.Status, without its details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Why a request was not taken.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    words: String,
    retry_after: Option<u32>,
    form: Form,
    /// The connection ends, since what was sent is not read to its end.
    closes: bool,
}

impl Refusal {
    /// For this reason.
    pub fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
            retry_after: None,
            form: Form::Json,
            closes: false,
        }
    }

    /// To be tried again after so many seconds.
    pub fn later(status: StatusCode, words: &str, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(status, words)
        }
    }

    /// Said in the sender's form.
    pub fn in_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// And the connection ends.
    pub fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = match self.form {
            Form::Protobuf => Status {
                code: code(self.status),
                message: self.words,
            }
            .encode_to_vec(),
            Form::Json => json!({"code": code(self.status), "message": self.words})
                .to_string()
                .into_bytes(),
        };
        let mut response = (self.status, [content_type(self.form)], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The code of gRPC that goes with a status.
fn code(status: StatusCode) -> i32 {
    match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::REQUEST_TIMEOUT => 4,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 3,
    }
}

fn content_type(form: Form) -> (HeaderName, HeaderValue) {
    let name = match form {
        Form::Protobuf => "application/x-protobuf",
        Form::Json => "application/json",
    };
    (header::CONTENT_TYPE, HeaderValue::from_static(name))
}

/// All is stored, apart from so many pieces.
pub fn stored(signal: Signal, form: Form, rejected: usize) -> Response {
    let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
    let words = "a span without traceId or spanId cannot be told from others; it is in agent_kpi.quarantine";
    let body = match (form, signal) {
        (Form::Json, _) if rejected == 0 => b"{}".to_vec(),
        // A whole number of 64 bits is text in JSON.
        (Form::Json, Signal::Traces) => json!({"partialSuccess":
            {"rejectedSpans": rejected.to_string(), "errorMessage": words}})
        .to_string()
        .into_bytes(),
        (Form::Json, Signal::Logs) => json!({"partialSuccess":
            {"rejectedLogRecords": rejected.to_string(), "errorMessage": words}})
        .to_string()
        .into_bytes(),
        (Form::Protobuf, Signal::Traces) => ExportTraceServiceResponse {
            partial_success: (rejected > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: words.to_owned(),
            }),
        }
        .encode_to_vec(),
        (Form::Protobuf, Signal::Logs) => ExportLogsServiceResponse {
            partial_success: (rejected > 0).then(|| ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message: words.to_owned(),
            }),
        }
        .encode_to_vec(),
    };
    (StatusCode::OK, [content_type(form)], body).into_response()
}
