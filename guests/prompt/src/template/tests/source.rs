//! What is done to a template before minijinja reads it.

use super::*;
use crate::template::source::prepared;

#[test]
fn what_becomes_of_tags() {
    for (source, expected) in [
        ("", ""),
        (
            "a { b } {{ c }} {# {% set d = 1 %} #}",
            "a { b } {{ c }} {# {% set d = 1 %} #}",
        ),
        (
            "{%- generation -%}a{%endgeneration%}",
            "{%- if true -%}a{% endif %}",
        ),
        ("{% set a = b %}", "{% set a = __bounded(( b )) %}"),
        (
            "{%-set a.b=c['%}'] == d-%}",
            "{%-set a.b= __bounded_member((c['%}'] == d)) -%}",
        ),
        (
            "{% set a, b = 1, (2) %}",
            "{% set a, b = __bounded(( 1, (2) )) %}",
        ),
        (
            "{% set a %}b = c{% endset %}",
            "{% set a %}b = c{% endset %}{% set a = __bounded(a) %}",
        ),
        (
            "{%- set a.b | f(b=1) %}{%- set c %}{% endset -%}{% endset %}",
            "{%- set a.b | f(b=1) %}{%- set c %}{% endset -%}{% set c = __bounded(c) -%}{% endset %}\
             {% set a.b = __bounded_member(a.b) %}",
        ),
        (
            "{% set a = {'b': {}} %}",
            "{% set a = __bounded(( {'b': {}} )) %}",
        ),
        (
            "{% set a = 'ö\\'%}' %}",
            "{% set a = __bounded(( 'ö\\'%}' )) %}",
        ),
        (
            "{% raw %}{% set a = 1 %}{%- endraw -%}{% set b = 1 %}",
            "{% raw %}{% set a = 1 %}{%- endraw -%}{% set b = __bounded(( 1 )) %}",
        ),
        (
            "{%- for a, (b, c) in d.items() if in -%} {{ a }}",
            "{%- for a, (b, c) in d.items() if in -%}\
             {% set a = __bounded(a) -%}{% set b = __bounded(b) -%}{% set c = __bounded(c) -%} {{ a }}",
        ),
        (
            "{% macro f(a, b=[c, d], e='g)') %}\n{% endmacro %}",
            "{% macro f(a, b=[c, d], e='g)') %}\
             {% set a = __bounded(a) %}{% set b = __bounded(b) %}{% set e = __bounded(e) %}\n{% endmacro %}",
        ),
        ("{% macro f() %}", "{% macro f() %}"),
        (
            "{% call(a, b) f(c) %}",
            "{% call(a, b) f(c) %}{% set a = __bounded(a) %}{% set b = __bounded(b) %}",
        ),
        ("{% call f(c) %}", "{% call f(c) %}"),
        (
            "{% with a = {'b': c == d}, e=g(h=1) +%}",
            "{% with a = {'b': c == d}, e=g(h=1) +%}{% set a = __bounded(a) +%}{% set e = __bounded(e) +%}",
        ),
        (
            "{% with (a, (b, c)) = d, e = (f) %}",
            "{% with (a, (b, c)) = d, e = (f) %}\
             {% set c = __bounded(c) %}{% set b = __bounded(b) %}{% set a = __bounded(a) %}{% set e = __bounded(e) %}",
        ),
        // What is not well formed stays.
        ("{% set a = ", "{% set a = "),
        ("{{ 'a }}", "{{ 'a }}"),
        ("{# a", "{# a"),
        ("{% raw %} {% set a = 1 %}", "{% raw %} {% set a = 1 %}"),
        ("{", "{"),
        ("{%", "{%"),
        ("{%-", "{%-"),
    ] {
        assert_eq!(prepared(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn assignments_mean_what_they_did() {
    let source = "{% set a, b = 1, [2] %}{% set c = x %}{% set d = a == 1 if b else 0 -%}  {% set e = (1,) %}\
        {{ a }}{{ b }}{{ c is defined }}{{ d }}{{ e }}{% set f = raise_exception %}{{ f is defined }}";
    assert_eq!(prompt(source, &[user("")]), "1[2]FalseTrue(1,)True");
}
