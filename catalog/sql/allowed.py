"""What the SQL of contracts may be made of: everything that is not listed here is refused.

Functions are PostgreSQL's own (`pg_catalog`), compute from their arguments alone, and neither read nor change
anything else: no file, setting, catalogue, sequence, lock or large object, and no SQL that is handed over as a text.
"""

from __future__ import annotations

import re

from sqlglot import expressions as exp

from catalog.sql.dialect import JsonArrow, JsonArrowText


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# fmt: off
NODES = frozenset([
    # Queries.
    exp.Select, exp.Union, exp.Except, exp.Intersect, exp.Subquery, exp.Values, exp.With, exp.CTE, exp.From, exp.Join,
    exp.Lateral, exp.Unnest, exp.Table, exp.TableAlias, exp.ColumnDef, exp.Where, exp.Group, exp.GroupingSets,
    exp.Cube, exp.Rollup, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.LimitOptions, exp.Offset, exp.Fetch,
    exp.Distinct, exp.Window, exp.WindowSpec, exp.WithinGroup, exp.Filter, exp.Alias, exp.Star, exp.Column,
    exp.Identifier, exp.Var,
    # Values.
    exp.Literal, exp.Null, exp.Boolean, exp.Interval, exp.Array, exp.Tuple, exp.Paren, exp.Cast, exp.DataType,
    exp.DataTypeParam, exp.Bracket, exp.Slice, exp.Dot, exp.Collate, exp.AtTimeZone,
    # Operators.
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between,
    exp.NullSafeEQ, exp.NullSafeNEQ, exp.Like, exp.ILike, exp.SimilarTo, exp.Escape, exp.RegexpLike, exp.RegexpILike,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Pow, exp.Neg, exp.DPipe, exp.BitwiseAnd, exp.BitwiseOr,
    exp.BitwiseXor, exp.BitwiseNot, exp.BitwiseLeftShift, exp.BitwiseRightShift, exp.Overlaps, exp.ArrayContainsAll,
    exp.ArrayContainedBy, exp.ArrayOverlaps, JsonArrow, JsonArrowText, exp.JSONBExtract, exp.JSONBExtractScalar,
    exp.JSONBContainsTopKey, exp.JSONBContainsAnyTopKeys, exp.JSONBContainsAllTopKeys, exp.JSONBPathExists,
    # Calls. `Anonymous` is every function that is called like one; its name is looked up below.
    exp.Anonymous, exp.Kwarg, exp.Case, exp.If, exp.Exists, exp.Any, exp.Extract, exp.Trim, exp.StrPosition,
    exp.Substring, exp.Overlay, exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Localtime,
    exp.Localtimestamp,
])
Type = exp.DataType.Type
TYPES = frozenset([
    Type.BOOLEAN, Type.SMALLINT, Type.INT, Type.BIGINT, Type.DECIMAL, Type.FLOAT, Type.DOUBLE, Type.TEXT,
    Type.VARCHAR, Type.CHAR, Type.BPCHAR, Type.DATE, Type.TIME, Type.TIMETZ, Type.TIMESTAMP, Type.TIMESTAMPTZ,
    Type.INTERVAL, Type.UUID, Type.JSON, Type.JSONB, Type.VARBINARY, Type.ARRAY, Type.INET, Type.INT4RANGE,
    Type.INT8RANGE, Type.NUMRANGE, Type.TSRANGE, Type.TSTZRANGE, Type.DATERANGE,
])
# fmt: on
FUNCTIONS = words(
    """
    all any some row array exists coalesce nullif greatest least grouping num_nulls num_nonnulls pg_typeof

    count sum avg min max any_value array_agg string_agg bool_and bool_or every bit_and bit_or bit_xor json_agg
    jsonb_agg json_object_agg jsonb_object_agg stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop
    covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy mode
    percentile_cont percentile_disc range_agg range_intersect_agg

    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value

    abs cbrt ceil ceiling degrees div erf erfc exp factorial floor gcd lcm ln log log10 min_scale mod pi pow power
    radians round scale sign sqrt trim_scale trunc width_bucket acos acosd asin asind atan atan2 atan2d atand cos cosd
    cot cotd sin sind tan tand sinh cosh tanh asinh acosh atanh int2 int4 int8 float4 float8 numeric

    ascii bit_length btrim casefold char_length character_length chr concat concat_ws decode encode format initcap
    left length lower lpad ltrim md5 normalize octet_length quote_ident quote_literal quote_nullable regexp_count
    regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table
    regexp_substr repeat replace reverse right rpad rtrim sha224 sha256 sha384 sha512 split_part starts_with
    string_to_array string_to_table strpos substr substring text to_bin to_char to_hex to_number to_oct translate
    unistr upper bit_count get_bit get_byte set_bit set_byte convert_from convert_to

    age date date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days justify_hours
    justify_interval make_date make_interval make_time make_timestamp make_timestamptz timezone to_date to_timestamp
    timestamp timestamptz time timetz interval overlaps

    array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_reverse array_sort array_to_string array_upper cardinality
    trim_array

    array_to_json json_array_length json_build_array json_build_object json_extract_path json_extract_path_text
    json_object json_strip_nulls json_typeof jsonb_array_length jsonb_build_array jsonb_build_object jsonb_concat
    jsonb_contains jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path jsonb_extract_path_text
    jsonb_insert jsonb_object jsonb_path_exists jsonb_path_match jsonb_path_query jsonb_path_query_array
    jsonb_path_query_first jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_typeof row_to_json to_json
    to_jsonb

    int4range int8range numrange daterange tsrange tstzrange isempty lower_inc lower_inf upper_inc upper_inf
    range_merge

    family host masklen netmask network broadcast hostmask set_masklen abbrev
    """
)
# What gives rows, also behind FROM.
ROW_FUNCTIONS = words(
    """
    generate_series generate_subscripts unnest json_array_elements json_array_elements_text json_each json_each_text
    json_object_keys jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys
    jsonb_path_query json_to_record json_to_recordset jsonb_to_record jsonb_to_recordset regexp_matches
    regexp_split_to_table string_to_table
    """
)
# What gives another result each time. Quality rules may call these, queries of derived datasets may not.
NONDETERMINISTIC_FUNCTIONS = words(
    """
    now clock_timestamp statement_timestamp transaction_timestamp timeofday random random_normal gen_random_uuid
    uuidv4 uuidv7 current_date current_time current_timestamp localtime localtimestamp
    """
)
NONDETERMINISTIC_NODES = (exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Localtime, exp.Localtimestamp)
# Words that look like columns and are none: without quotes, PostgreSQL takes them for its own.
SERVER_WORDS = frozenset(
    ["user", "current_user", "session_user", "system_user", "current_role", "current_catalog", "current_schema"]
)
SPECIAL_TIMESTAMPS = frozenset({"now", "today", "tomorrow", "yesterday"})
# Sort orders are of PostgreSQL, ICU or the C library; all of them only sort.
COLLATION = re.compile(r"[A-Za-z0-9_.@-]+")
PLAIN_WORD = re.compile(r"[A-Za-z_]+( ROW)?")
PLAIN_NUMBER = re.compile(r"[0-9]*\.?[0-9]*([eE][+-]?[0-9]+)?")
# Every relation of `pg_catalog`, the only schema that a name without one is looked up in, begins so.
CATALOGUE_PREFIX = "pg_"
