//! The parts of Jinja, Python and transformers that chat templates use.

use super::*;

/// What the template gives for a message with this text.
fn give(source: &str, text: &str) -> Result<String, String> {
    render(&template(source), &[user(text)])
}

#[test]
fn expressions() {
    for (source, expected) in [
        (
            "{{ {'a': 1, 'b': [true, none]} | tojson }}",
            r#"{"a": 1, "b": [true, null]}"#,
        ),
        (
            "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}",
            r#"{"a": 2, "b": 1}"#,
        ),
        ("{{ [1, {}] | tojson(separators=(',', ':')) }}", "[1,{}]"),
        (
            "{{ {'a': [1, []]} | tojson(indent=2) }}",
            "{\n  \"a\": [\n    1,\n    []\n  ]\n}",
        ),
        ("{{ [1] | tojson(4) }}", "[\n    1\n]"),
        ("{{ [1] | tojson(indent='\t') }}", "[\n\t1\n]"),
        (
            "{{ 'ö𝄞' | tojson(ensure_ascii=true) }}",
            r#""\u00f6\ud834\udd1e""#,
        ),
        (
            "{{ '</a> & \"ö\"' | tojson(ensure_ascii=False) | safe }}",
            r#""</a> & \"ö\"""#,
        ),
        (
            "{{ none | tojson }} {{ 1.0 | tojson }} {{ 1.5 | tojson }}",
            "null 1.0 1.5",
        ),
        (
            "{{ true }} {{ none }} {{ ['a', 1] }} {{ {'a': 'b'} }}",
            "True None ['a', 1] {'a': 'b'}",
        ),
        ("{{ true | string + '' }} {{ 1 ~ true }}", "True 1True"),
        (
            "{{ ' a '.strip() + 'a,b'.split(',')[-1] + 'ab'[0] + 'abc'[:-1] + 'abc'[::-1] }}",
            "abaabcba",
        ),
        (
            "{{ 'Ab'.lower() + 'a'.upper() + 'xay'.replace('a', 'b') + 'aab'.lstrip('a') + 'b\n'.rstrip() }}",
            "abAxbybb",
        ),
        (
            "{{ 'ab'.startswith('a') and 'ab'.endswith('b') and 'a' in 'ab' and 'z' not in 'ab' }}",
            "True",
        ),
        (
            "{{ '%s-%d' | format('a', 3) }} {{ 'a'.title() }} {{ 'a b'.capitalize() }}",
            "a-3 A A b",
        ),
        (
            "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{{ ',' if not loop.last }}{% endfor %}",
            "b1,a2",
        ),
        (
            "{% for k, v in {'b': 1, 'a': 2} | dictsort %}{{ k }}{{ v }}{% endfor %}",
            "a2b1",
        ),
        (
            "{{ {'a': 1}.get('b', 2) }}{{ {'a': 1}.keys() | list | length }}{{ {'a': 1} | length }}",
            "211",
        ),
        (
            "{% for i in [1, 2, 3] %}{{ loop.previtem is defined }}{{ loop.nextitem }} {% endfor %}",
            "False2 True3 True ",
        ),
        (
            "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "02",
        ),
        (
            "{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
            "4",
        ),
        (
            "{{ [{'t': 'a'}, {'t': 'b'}] | selectattr('t', 'equalto', 'b') | map(attribute='t') | join(',') }}",
            "b",
        ),
        (
            "{{ [{'t': 'a'}, {}] | selectattr('t', 'defined') | list | length }}",
            "1",
        ),
        (
            "{{ [{'t': 1}, {'t': 2}] | rejectattr('t', 'equalto', 1) | list | first | tojson }}",
            "{\"t\": 2}",
        ),
        (
            "{{ x is defined }} {{ x is none }} {{ x | default('d') }} {{ '' | default('e', true) }}",
            "False False d e",
        ),
        (
            "{{ 'a' is string }} {{ {} is mapping }} {{ 'a' is iterable }} {{ [] is sequence }} {{ 1 is number }} {{ true is boolean }}",
            "True True True True True True",
        ),
        (
            "{% macro m(a, b='c') %}{{ a }}{{ b }}{% endmacro %}{{ m('a') }}{{ m('a', b='b') }}",
            "acab",
        ),
        (
            "{% set a %}x{{ 1 }}{% endset %}{{ a | trim | length }}",
            "2",
        ),
        ("{{ 'a' 'b' }}{{ 'c' if false }}", "ab"),
        (
            "{{ messages[0].missing is defined }}{{ messages[0]['x'] }}",
            "False",
        ),
        (
            "{%- generation -%} a {%- endgeneration %}{% generation %}b{% endgeneration %}",
            "ab",
        ),
        (
            "{{ strftime_now('%%') }}{{ strftime_now is defined }}",
            "%True",
        ),
    ] {
        assert_eq!(give(source, "").as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn errors() {
    for (source, expected) in [
        (
            "{{ raise_exception('why ' + messages[0].content) }}",
            "why not (line 1 of the template)",
        ),
        ("{{ [] | tojson(indent=1, wrong=2) }}", "wrong"),
        (
            "{{ [1] | tojson(indent='x' * 100) }}",
            "indent of at most 64",
        ),
        ("{{ x.y }}", "undefined"),
        ("{{ x() }}", "x"),
    ] {
        let error = give(source, "not").unwrap_err();
        assert!(error.contains(expected), "{source}: {error}");
    }
}

#[test]
fn a_wide_indent_is_narrowed() {
    let text = give("{{ [1] | tojson(indent=1000000000) }}", "").unwrap();
    assert_eq!(text.len(), "[\n1\n]".len() + 64);
}
