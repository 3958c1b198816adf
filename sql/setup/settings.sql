-- Settings that SQL reads.

CREATE FUNCTION agent_metrics_internal.report_time_zone() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN coalesce((SELECT s.value FROM agent_metrics.settings s WHERE s.name = 'report_time_zone'), 'UTC');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.report_time_zone() IS 'The setting report_time_zone.';
