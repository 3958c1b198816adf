//! What a turn has, how others call it, and the SQL that reads it from text.
//!
//! A column is taken for a field by its name alone, and only where the name leaves no doubt: a `duration` without a
//! unit, or a `cost` without a currency, is left to the person. What a column says is then held against the field.

/// How a field is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A duration, as milliseconds.
    Duration,
    /// A moment.
    Moment,
    /// Names of tools: a JSON array, or names with `|`, `;` or `,` between them.
    Tools,
    /// A name of the turn by which a redelivery is known.
    Id,
    /// Yes or no.
    Boolean,
}

/// A column of `agent_metrics.agent_events`.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// How it is read.
    pub kind: Kind,
    /// How others call it: small letters and digits of the name alone.
    names: &'static [&'static str],
}

const fn field(name: &'static str, kind: Kind, names: &'static [&'static str]) -> Field {
    Field { name, kind, names }
}

/// Every field, those that are required first. Of several names the earlier is the better.
pub const FIELDS: &[Field] = &[
    field(
        "occurred_at",
        Kind::Moment,
        &[
            "occurredat",
            "timestamp",
            "ts",
            "eventtime",
            "starttime",
            "startedat",
            "datetime",
            "time",
            "createdat",
            "date",
        ],
    ),
    field(
        "conversation_id",
        Kind::Text,
        &[
            "conversationid",
            "conversation",
            "sessionid",
            "session",
            "chatid",
            "chatsession",
            "chat",
            "threadid",
            "thread",
            "dialogid",
            "dialogueid",
            "callid",
        ],
    ),
    field(
        "event_id",
        Kind::Id,
        &[
            "eventid",
            "messageid",
            "turnid",
            "spanid",
            "requestid",
            "uuid",
        ],
    ),
    field(
        "turn_index",
        Kind::Integer,
        &[
            "turnindex",
            "turn",
            "turnno",
            "turnnumber",
            "msgno",
            "messageno",
            "messageindex",
            "step",
            "sequence",
            "seq",
        ],
    ),
    field(
        "user_id",
        Kind::Text,
        &["userid", "user", "customerid", "customer", "enduserid"],
    ),
    field(
        "intent_classified",
        Kind::Text,
        &["intentclassified", "intent", "topic"],
    ),
    field(
        "tools_called",
        Kind::Tools,
        &["toolscalled", "toolcalls", "tools", "toolnames", "tool"],
    ),
    field(
        "latency_ms",
        Kind::Duration,
        &[
            "latencyms",
            "durationms",
            "responsetimems",
            "elapsedms",
            "responsems",
            "latencymillis",
            "durationmillis",
        ],
    ),
    field(
        "token_usage_input",
        Kind::Integer,
        &[
            "tokenusageinput",
            "prompttokens",
            "inputtokens",
            "usageprompttokens",
            "usageinputtokens",
            "tokensin",
            "tokensprompt",
            "tokensinput",
        ],
    ),
    field(
        "token_usage_output",
        Kind::Integer,
        &[
            "tokenusageoutput",
            "completiontokens",
            "outputtokens",
            "usagecompletiontokens",
            "usageoutputtokens",
            "tokensout",
            "tokenscompletion",
            "tokensoutput",
        ],
    ),
    field(
        "token_usage_cache_read",
        Kind::Integer,
        &[
            "tokenusagecacheread",
            "cachedtokens",
            "cachereadinputtokens",
            "cachereadtokens",
            "usagecachedtokens",
            "usageprompttokensdetailscachedtokens",
            "cachedinputtokens",
        ],
    ),
    field(
        "token_usage_cache_write",
        Kind::Integer,
        &[
            "tokenusagecachewrite",
            "cachecreationinputtokens",
            "cachewritetokens",
            "cachecreationtokens",
            "usagecachecreationinputtokens",
        ],
    ),
    field(
        "cost_usd",
        Kind::Number,
        &[
            "costusd",
            "usd",
            "totalcostusd",
            "priceusd",
            "costindollars",
        ],
    ),
    field(
        "provider",
        Kind::Text,
        &["provider", "modelprovider", "vendor"],
    ),
    field(
        "model",
        Kind::Text,
        &["model", "modelname", "modelid", "llm"],
    ),
    field(
        "outcome_label",
        Kind::Text,
        &[
            "outcomelabel",
            "outcome",
            "label",
            "resolution",
            "disposition",
            "status",
            "result",
        ],
    ),
    field("business_event_id", Kind::Text, &["businesseventid"]),
    field(
        "agent_version",
        Kind::Text,
        &["agentversion", "botversion", "release"],
    ),
    field("prompt_version", Kind::Text, &["promptversion", "promptid"]),
    field("is_eval", Kind::Boolean, &["iseval", "istest"]),
    field(
        "error",
        Kind::Text,
        &[
            "error",
            "errortype",
            "errorcode",
            "errormessage",
            "exception",
        ],
    ),
];

/// The field of a name.
pub fn of_name(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// A name without what people write differently: `Session ID` is `sessionid`.
fn bare(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

impl Field {
    /// The column that goes by one of its names, the best first.
    pub fn among<'a>(&self, columns: &'a [String]) -> Option<&'a String> {
        best(self.names, columns)
    }
}

/// Whether a column's name is of those who count tokens of the cache apart from the input's.
pub fn is_cache_apart(column: &str) -> bool {
    bare(column).ends_with("cachereadinputtokens")
}

/// The column that goes by the earliest of the names.
pub fn best<'a>(names: &[&str], columns: &'a [String]) -> Option<&'a String> {
    names
        .iter()
        .find_map(|name| columns.iter().find(|column| bare(column) == *name))
}

/// A field and the column that it is read from.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// The field.
    pub field: &'static Field,
    /// The column's name, as the source has it.
    pub column: String,
    /// SQL of the column's text.
    pub text: String,
    /// What a duration is multiplied with to be milliseconds.
    pub factor: &'static str,
    /// How a moment is read: SQL with `$` for the text.
    pub moment: String,
    /// What stands between two tools.
    pub separator: char,
    /// Whether each id is a uuid.
    pub is_uuid: bool,
}

/// Text of a number, whole or not.
const NUMBER: &str = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$";
const INTEGER: &str = r"^[+-]?[0-9]{1,18}(\.0*)?$";
const BOOLEAN: &str = "^(t|f|true|false|yes|no|0|1)$";

impl Mapped {
    /// The column's text without blanks around it, NULL where nothing is left.
    pub fn trimmed(&self) -> String {
        format!("nullif(btrim({}), '')", self.text)
    }

    /// What a text has to look like; None: anything will do.
    pub fn pattern(&self) -> Option<(&'static str, &'static str)> {
        match self.field.kind {
            Kind::Integer => Some((INTEGER, "whole number")),
            Kind::Number | Kind::Duration => Some((NUMBER, "number")),
            Kind::Boolean => Some((BOOLEAN, "yes or no")),
            Kind::Text | Kind::Moment | Kind::Tools | Kind::Id => None,
        }
    }

    /// SQL of the field's value.
    pub fn value(&self, agent: &str) -> String {
        let text = self.trimmed();
        match self.field.kind {
            Kind::Text => text,
            Kind::Integer => format!("{text}::numeric::bigint"),
            Kind::Number => format!("{text}::numeric"),
            Kind::Duration => format!("{text}::double precision{}", self.factor),
            Kind::Boolean => format!("coalesce({text}::boolean, false)"),
            Kind::Moment => self.moment.replace('$', &text),
            Kind::Tools => format!(
                "CASE WHEN {text} LIKE '[%' THEN {text}::jsonb ELSE to_jsonb(string_to_array({text}, '{}')) END",
                self.separator
            ),
            Kind::Id if self.is_uuid => format!("{text}::uuid"),
            Kind::Id => format!("md5({agent} || '/' || {text})::uuid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(columns: &[&str], field: &str) -> Option<String> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        of_name(field).and_then(|field| field.among(&columns).cloned())
    }

    #[test]
    fn a_column_is_known_by_its_name_however_it_is_written() {
        assert_eq!(
            found(&["Session ID", "x"], "conversation_id").as_deref(),
            Some("Session ID")
        );
        assert_eq!(
            found(&["usage.prompt_tokens"], "token_usage_input").as_deref(),
            Some("usage.prompt_tokens")
        );
        assert_eq!(found(&["date", "ts"], "occurred_at").as_deref(), Some("ts"));
    }

    #[test]
    fn what_has_no_unit_is_nobodys_guess() {
        assert_eq!(found(&["duration", "latency"], "latency_ms"), None);
        assert_eq!(found(&["cost", "price"], "cost_usd"), None);
    }
}
