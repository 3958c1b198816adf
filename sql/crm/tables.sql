-- Tables that are in this warehouse already, and are followed: which they are, what their triggers noted, and what
-- could not be followed.

CREATE TABLE agent_metrics_internal.attached_tables (
    source         text PRIMARY KEY,
    columns        jsonb NOT NULL,
    fixed_kind     text,
    id_prefix      text NOT NULL DEFAULT '',
    mode           text NOT NULL CHECK (mode IN ('trigger', 'compare')),
    relation       oid NOT NULL,
    relation_kind  text NOT NULL,
    relation_owner text NOT NULL,
    column_types   jsonb NOT NULL,
    wants_triggers boolean NOT NULL DEFAULT false,
    must_compare   boolean NOT NULL DEFAULT false,
    attached_by    text NOT NULL DEFAULT current_user,
    attached_at    timestamptz NOT NULL DEFAULT now(),
    compared_at    timestamptz,
    parts          text,
    feeds          text NOT NULL DEFAULT 'business_events' CHECK (feeds IN ('business_events', 'turns')),
    preset         text,
    fixed          jsonb NOT NULL DEFAULT '{}',
    sender         text,
    watermark      text,
    read_from      text,
    read_next      text,
    read_next_at   timestamptz,
    delete_gone    boolean NOT NULL DEFAULT false,
    CONSTRAINT columns_are_shallow CHECK (agent_metrics_internal.check_json(columns, 'columns')),
    CONSTRAINT column_types_are_shallow CHECK (agent_metrics_internal.check_json(column_types, 'column_types')),
    CONSTRAINT fixed_is_shallow CHECK (agent_metrics_internal.check_json(fixed, 'fixed')),
    CONSTRAINT turns_have_a_sender CHECK ((feeds = 'turns') = (sender IS NOT NULL AND starts_with(sender, 'table ')))
);
COMMENT ON TABLE agent_metrics_internal.attached_tables IS
    'Tables whose rows are business events or turns; written by attach_business_events() and attach_turns().';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.source IS
    'The table, with its schema, quoted as SQL needs it.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.columns IS
    'For each column of business_events or agent_events, the column of the table that it is read from; key and '
    'watermark are of the table alone.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.fixed_kind IS
    'Kind of all its events; NULL: a column says it.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.id_prefix IS
    'Put before each key, so that keys of two tables do not collide.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.mode IS
    'trigger: each write is noted; compare: all rows are compared, or those from the watermark on.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.relation IS
    'Which table of that name was last compared: another one in its place is compared anew.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.relation_kind IS
    'table, view, materialized view or foreign table, as it was attached.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.relation_owner IS 'Role that owned it when it was attached.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.column_types IS
    'For each column that is read, its type when it was attached.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.wants_triggers IS 'Its triggers are still to be made.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.must_compare IS
    'Writes may have been missed, so the next sync_business_events() compares all rows.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.attached_by IS 'Role that attached it.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.attached_at IS 'When it was attached.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.compared_at IS 'When all its rows were last compared.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.parts IS
    'Hash of the partitions and their files as they were then: no trigger sees a partition come, '
    'go or be emptied. NULL: it has none.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.feeds IS 'What its rows are: business_events or turns.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.preset IS
    'Tool whose table it is, so that its rows are read as that tool writes them; NULL: columns says how.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.fixed IS
    'Columns of agent_events that are the same for all its rows.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.sender IS
    'Whose its turns are in span_keys; tables of one preset in one schema are one sender. NULL: it has no turns.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.watermark IS
    'Column that grows with each write; NULL: all rows are compared each time.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.read_from IS
    'Rows with this watermark or a greater one are compared; NULL: all.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.read_next IS
    'The greatest watermark at read_next_at. It becomes read_from an hour later: until then a transaction that was '
    'open may still bring a smaller one.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.read_next_at IS 'When read_next was seen.';
COMMENT ON COLUMN agent_metrics_internal.attached_tables.delete_gone IS
    'A turn whose row is gone is deleted; else it stays, for many tables keep some weeks only.';

-- What the triggers write, within the transactions of the business system: rows that nobody else can have a lock on.
CREATE TABLE agent_metrics_internal.attached_changes (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source    text NOT NULL,
    relation  oid NOT NULL,
    operation text NOT NULL CHECK (operation IN ('put', 'delete', 'truncate')),
    fields    text[]
) WITH (vacuum_truncate = off);  -- its lock would keep the CRM's writes from being noted
COMMENT ON TABLE agent_metrics_internal.attached_changes IS
    'Writes to attached tables that wait for the next sync_business_events(), in the order of each row''s history.';
COMMENT ON COLUMN agent_metrics_internal.attached_changes.change_id IS 'Identity.';
COMMENT ON COLUMN agent_metrics_internal.attached_changes.source IS 'The attached table.';
COMMENT ON COLUMN agent_metrics_internal.attached_changes.relation IS 'Which table of that name.';
COMMENT ON COLUMN agent_metrics_internal.attached_changes.operation IS 'put (a row as it is now), delete or truncate.';
COMMENT ON COLUMN agent_metrics_internal.attached_changes.fields IS
    'As text: key, kind, time, conversation, customer, amount; of a deletion the key alone.';
CREATE INDEX attached_changes_source ON agent_metrics_internal.attached_changes (source);

CREATE TABLE agent_metrics_internal.attachment_problems (
    problem_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source     text NOT NULL,
    problem    text NOT NULL,
    row_key    text,
    detail     text,
    seen_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE agent_metrics_internal.attachment_problems IS
    'What could not be followed of an attached table; emptied when a comparison finds all well.';
COMMENT ON COLUMN agent_metrics_internal.attachment_problems.problem_id IS 'Identity.';
COMMENT ON COLUMN agent_metrics_internal.attachment_problems.source IS 'The attached table.';
COMMENT ON COLUMN agent_metrics_internal.attachment_problems.problem IS
    'What is wrong, in words that hold no value of the table: readers see them.';
COMMENT ON COLUMN agent_metrics_internal.attachment_problems.row_key IS
    'Key of the first row that had it; NULL: it is not about a row.';
COMMENT ON COLUMN agent_metrics_internal.attachment_problems.detail IS
    'What the server said of it; may hold values of the table.';
COMMENT ON COLUMN agent_metrics_internal.attachment_problems.seen_at IS 'When it was seen.';

-- After the checks above, and for whoever writes.
CREATE TRIGGER guard_attachment AFTER INSERT OR UPDATE ON agent_metrics_internal.attached_tables
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.guard_attachment();

ALTER TABLE agent_metrics_internal.attached_tables ENABLE ALWAYS TRIGGER guard_attachment;
