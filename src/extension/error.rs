//! The one error type of the backend: SQLSTATE, message, detail, hint.

use crate::measures::cadence::CadenceError;
use crate::measures::rate::RateError;
use crate::measures::sketch::SketchError;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

/// An error on its way to the client.
pub struct SqlError {
    code: PgSqlErrorCode,
    message: String,
    detail: String,
    hint: String,
}

impl SqlError {
    /// An error with all its parts. Detail says why, hint what to do.
    pub fn new(
        code: PgSqlErrorCode,
        message: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            detail: detail.into(),
            hint: hint.into(),
        }
    }

    /// Raise it; does not return.
    #[cold]
    pub fn raise(self) -> ! {
        ErrorReport::new(self.code, self.message, "agent_metrics")
            .set_detail(self.detail)
            .set_hint(self.hint)
            .report(PgLogLevel::ERROR);
        unreachable!("an error report of level ERROR does not return")
    }
}

impl From<SketchError> for SqlError {
    fn from(error: SketchError) -> Self {
        let (code, detail, hint) = match error {
            SketchError::Value(_) => (
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                "A quantile sketch takes finite numbers from 0 upwards.",
                "Leave the value out with a FILTER clause, or store NULL, which is skipped.",
            ),
            SketchError::Overflow => (
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                "Its count is a 64-bit integer.",
                "Aggregate fewer values.",
            ),
            SketchError::Corrupt(_) => (
                PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
                "The bytes or the text are not what agent_metrics writes.",
                "Make sketches with agent_metrics.quantile_sketch(); \
                 if they come from a newer version, update this one.",
            ),
        };
        Self::new(code, error.to_string(), detail, hint)
    }
}

impl From<RateError> for SqlError {
    fn from(error: RateError) -> Self {
        let code = match error {
            RateError::Text(_) => PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            RateError::Impossible(..) | RateError::Difference(..) | RateError::Overflow => {
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
            }
        };
        Self::new(
            code,
            error.to_string(),
            "A rate is hits/total with 0 <= hits <= total.",
            "Write it like '184/200'.",
        )
    }
}

impl From<CadenceError> for SqlError {
    fn from(error: CadenceError) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            error.to_string(),
            error.detail(),
            error.hint(),
        )
    }
}
