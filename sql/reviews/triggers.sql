-- A review is weighed when it is written.

DO $block$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_trigger t
                   WHERE t.tgrelid = 'agent_metrics_internal.breaches'::regclass AND t.tgname = 'alert_breach') THEN
        CREATE TRIGGER alert_breach AFTER INSERT OR UPDATE ON agent_metrics_internal.breaches
            FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.alert_breach();
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_trigger t
                   WHERE t.tgrelid = 'agent_metrics.reviews'::regclass AND t.tgname = 'weigh_review') THEN
        CREATE TRIGGER weigh_review BEFORE INSERT OR UPDATE ON agent_metrics.reviews
            FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.weigh_review();
    END IF;
END
$block$;
