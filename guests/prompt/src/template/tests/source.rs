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
            "{%-set a.b= __bounded((c['%}'] == d)) -%}",
        ),
        (
            "{% set a, b = 1, (2) %}",
            "{% set a, b = __bounded(( 1, (2) )) %}",
        ),
        (
            "{% set a %}b = c{% endset %}",
            "{% set a %}b = c{% endset %}",
        ),
        (
            "{% set a | f(b=1) %}{% endset %}",
            "{% set a | f(b=1) %}{% endset %}",
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
