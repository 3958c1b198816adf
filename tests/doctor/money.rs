//! Faults of the money: turns without a cost, costs of nobody.

use super::{Fault, fault, plant_and_cure};

/// Fault, how it comes about, what `doctor` says, what a person fills in.
const MONEY: &[Fault] = &[
    fault(
        "unpriced",
        &["INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output)
           SELECT 'bot', now() - n * interval '10 days', 'p' || n, 'm''1', 10, 10 FROM generate_series(1, 9) n",
          "SELECT agent_metrics.refresh()"],
        "9 turns of agent bot by model m'1 have no cost: the model has no price",
        &[("<provider>", "'us'"), ("<usd>", "3")],
    ),
    fault(
        "late_price",
        &["INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output)
           SELECT 'bot', now() - n * interval '10 days', 'p' || n, 'm1', 10, 10 FROM generate_series(1, 9) n",
          "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
           VALUES ('us', 'm1', 'input', 1), ('us', 'm1', 'output', 2)",
          "SELECT agent_metrics.refresh()"],
        "9 turns of agent bot by model m1 have no cost",
        &[],
    ),
    fault(
        "whose",
        &["INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
           SELECT p, 'm1', u, 1 FROM unnest(ARRAY['us', 'you']) p, unnest(ARRAY['input', 'output']) u",
          "INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output)
           VALUES ('bot', now(), 'p', 'm1', 10, 10)"],
        "several providers price the model",
        &[("<provider>", "'you'")],
    ),
    fault(
        "elsewhere",
        &["INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
           VALUES ('us', 'm1', 'input', 1), ('us', 'm1', 'output', 2)",
          "INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, conversation_id, provider, model, token_usage_input, token_usage_output)
           VALUES ('bot', now(), 'p', 'you', 'm1', 10, 10)"],
        "the provider has no price for the model",
        &[("<usd>", "3")],
    ),
    fault(
        "no_model",
        &["INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
           VALUES ('us', 'm1', 'input', 1), ('us', 'm1', 'output', 2)",
          "INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, conversation_id, token_usage_input, token_usage_output)
           VALUES ('bot', now(), 'p', 10, 10)"],
        "by model unknown have no cost: the turns name no model",
        &[("<model>", "'m1'")],
    ),
    fault(
        "bearer",
        &["INSERT INTO agent_metrics.infrastructure_costs (agent_id, period_start, period_end, amount_usd)
           VALUES ('bott', now() - interval '1 month', now(), 70)"],
        "infrastructure costs of 70 usd name agent bott",
        &[("<agent_id>", "'bot'")],
    ),
    fault(
        "refused_bill",
        &[r#"SELECT agent_metrics.import_openai_costs('{"data": [{"start_time": 1772323200, "end_time": 1772409600,
             "results": [{"amount": {"value": 1, "currency": "eur"}, "line_item": "it''s, input"}]}]}')"#],
        "1 lines of bills by openai were refused, so that the bills lack them: its currency is \"eur\"",
        &[],
    ),
    fault(
        "missing_page",
        &[r#"SELECT agent_metrics.import_openai_costs('{"has_more": true, "data": []}', 'our org''s')"#],
        "a bill by openai has more pages, which were not imported (account our org's)",
        &[],
    ),
];

#[test]
fn faults_of_the_money_are_cured_by_what_is_printed() {
    plant_and_cure(MONEY);
}
