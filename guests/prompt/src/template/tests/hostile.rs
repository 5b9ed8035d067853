//! Templates that are made to take long, much, or to go deep.

use super::*;

/// In a thread with little stack. Wasm has a mebibyte; the builds of tests use several times as much.
fn within_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

/// What comes of the template, with less fuel than there is, since builds of tests are slow.
fn give(source: &str) -> Result<String, String> {
    let mut template = Template::new(source, "", "")?;
    template.environment.set_fuel(Some(FUEL_TO_PROBE));
    render(&template, &[user("a")])
}

#[test]
fn what_doubles_runs_out_of_fuel() {
    for source in [
        "{% set ns = namespace(a='aaaaaaaa') %}{% for i in range(100) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}",
        "{{ 'a' * 10000000000 }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{{ messages | tojson }}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% set x = messages %}{% endfor %}{% endfor %}",
    ] {
        let error = give(source).unwrap_err();
        assert!(error.contains("fuel"), "{source}: {error}");
    }
}

#[test]
fn sources_that_go_deep_are_refused() {
    within_a_small_stack(|| {
        for unit in [
            "(",
            "[",
            "{",
            "not ",
            "-",
            "1 + ",
            "1 and ",
            "'a' ~ ",
            "2 ** ",
            "1 if 1 else ",
            "a.",
            "a|",
        ] {
            for tag in ["{{ _1 }}", "{% if _1 %}{% endif %}", "{% set a = _1 %}"] {
                let source = tag.replace('_', &unit.repeat(10_000));
                let error = Template::new(&source, "", "").unwrap_err();
                assert!(
                    error.ends_with("(line 1 of the template)"),
                    "{unit} {tag}: {error}"
                );
            }
        }
        for tag in ["{% if true %}", "{% for a in [1] %}", "{% macro f() %}"] {
            let error = Template::new(&tag.repeat(10_000), "", "").unwrap_err();
            assert!(error.contains("recursion"), "{tag}: {error}");
        }
        let elifs = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(10_000));
        let error = Template::new(&elifs, "", "").unwrap_err();
        assert!(error.contains("400 `elif`"), "{error}");
    });
}

#[test]
fn the_longest_tags_are_read() {
    within_a_small_stack(|| {
        for source in [
            format!("{{{{ {}1 }}}}", "not ".repeat(390)),
            format!("{{{{ {}1 }}}}", "1 + ".repeat(190)),
            format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(90)),
            format!("{{{{ x{} }}}}", "|e".repeat(190)),
            format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(390)),
        ] {
            assert!(give(&source).is_ok(), "{source}");
        }
    });
}

#[test]
fn values_that_go_deep_are_refused() {
    within_a_small_stack(|| {
        for source in [
            "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{% set ns.a = [ns.a] %}{% endfor %}",
            "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{%- set ns.a = {'a': ns.a} -%}{% endfor %}",
            "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{% set ns.a = (ns.a,) %}{% endfor %}",
            &"{% set a = [a] %}".repeat(10_000),
            "{% macro f(x) %}{{ f([[[[[[[[[[[[[[[[[[[[x, x]]]]]]]]]]]]]]]]]]]]) }}{% endmacro %}{{ f(1) }}",
        ] {
            let error = give(source).unwrap_err();
            assert!(error.contains("100 deep"), "{source}: {error}");
        }
        for source in [
            "{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}",
            "{% for i in range(9) recursive %}{{ loop([1]) }}{% endfor %}",
        ] {
            let error = give(source).unwrap_err();
            assert!(error.contains("recursion"), "{source}: {error}");
        }
    });
}

/// A list that has itself, by way of a namespace, would be walked through without end.
#[test]
fn namespaces_in_namespaces_are_refused() {
    within_a_small_stack(|| {
        for value in ["ns", "[ns]", "{'a': (1, ns)}", "[ns][0:]", "dict(a=ns)"] {
            for reader in [
                "{{ ns }}",
                "{{ (ns ~ '')|length }}",
                "{{ ns|string }}",
                "{{ ns == ns }}",
                "{{ debug() }}",
            ] {
                let source =
                    format!("{{% set ns = namespace(a=1) %}}{{% set ns.a = {value} %}}{reader}");
                let error = give(&source).unwrap_err();
                assert!(error.contains("without namespaces"), "{source}: {error}");
            }
        }
        // One in a variable is fine.
        let source = "{% set a = namespace(b=1) %}{% set c = [a] %}{% set c = c[0:] %}{{ c[0].b }}";
        assert_eq!(give(source).unwrap(), "1");
    });
}

/// Slices of slices are put off, and would be computed one in the other.
#[test]
fn what_is_put_off_is_there_in_the_end() {
    within_a_small_stack(|| {
        let rounds = "{% for i in range(3000) %}_{% endfor %}";
        for (start, step, end) in [
            ("namespace(a=[1, 2])", "{% set ns.a = ns.a[0:] %}", "ns.a"),
            (
                "namespace(a=[[1, 2]])",
                "{% set ns.a = [ns.a[0][0:]] %}",
                "ns.a[0]",
            ),
            (
                "namespace(a={'b': [1, 2]})",
                "{% set ns.a = {'b': ns.a.b[0:]} %}",
                "ns.a.b",
            ),
        ] {
            let rounds = rounds.replace('_', step);
            let source = format!("{{% set ns = {start} %}}{rounds}{{{{ {end}|list|length }}}}");
            assert_eq!(give(&source).unwrap(), "2", "{source}");
        }
        let long = format!(
            "{{% set a = namespace(b=[1, 2]) %}}{}{{{{ a.b|list|length }}}}",
            "{% set a = namespace(b=a.b[0:]) %}".repeat(10_000)
        );
        assert_eq!(give(&long).unwrap(), "2");
        let kept = "{% set a = (1, [2, 3][1:]) %}{% set a = a[0:] %}{{ a }} {% for b in a[1:] %}{{ b }}{% endfor %}";
        assert_eq!(give(kept).unwrap(), "(1, [3]) [3]");
    });
}

/// What a macro, a loop or `with` makes of its own values grows with each.
#[test]
fn what_parameters_make_of_each_other_runs_out_of_fuel() {
    within_a_small_stack(|| {
        for source in [
            "{% macro f(n,x) %}{% if n>0 %}{{ f(n-1,[x,x]) }}{% else %}{{ (x ~ \"\")|length }}{% endif %}{% endmacro %}{{ f(40,1) }}",
            "{% macro f(n,x) %}{% if n>0 %}{{ f(n-1,dict(a=x,b=x)) }}{% else %}{{ x == x }}{% endif %}{% endmacro %}{{ f(40,1) }}",
            "{% for x in [[1,1]] recursive %}{{ loop([[x,x]]) }}{% endfor %}",
            &format!(
                "{}{}",
                "{% with a = [a, a] %}".repeat(40),
                "{% endwith %}".repeat(40)
            ),
            &format!(
                "{}{}",
                "{% with (a, b) = ([a, a], 1) %}".repeat(40),
                "{% endwith %}".repeat(40)
            ),
            &"{% set a | default([a, a], true) %}{% endset %}".repeat(40),
        ] {
            let error = give(source).unwrap_err();
            assert!(
                error.contains("fuel") || error.contains("recursion"),
                "{source}: {error}"
            );
        }
    });
}

#[test]
fn the_function_that_bounds_is_not_to_be_named() {
    let error = give("{% set __bounded = dict %}").unwrap_err();
    assert!(error.contains("without the name"), "{error}");
}

/// What `groupby` gives is a pair with names.
#[test]
fn groups_keep_their_names() {
    let source = "{% for g in [{'r': 1}, {'r': 2}]|groupby('r') %}{{ g.grouper }}{{ g.list|length }};{% endfor %}";
    assert_eq!(give(source).unwrap(), "11;21;");
}

#[test]
fn wide_fields_are_refused() {
    for source in [
        "{{ '{:2000000000}'.format(1) }}",
        "{{ '{:.2000000000f}'.format(1) }}",
        "{{ '{:}<1500000000}'.format(1) }}",
        "{{ '{:<99999}{:>99999}'.format(1, 2) }}",
        "{{ '{:{}}'.format(1, 2000000000) }}",
        "{{ '%2000000000d'|format(1) }}",
        "{% for i in range(100000) %}{% set a = '{:99999}'.format(1) %}{% endfor %}",
    ] {
        assert!(give(source).is_err(), "{source}");
    }
    assert_eq!(
        give("{{ '{:>5}|{:05.1f}'.format(1, 2.25) }}").unwrap(),
        "    1|002.2"
    );
}

#[test]
fn json_that_goes_deep_is_refused() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let prompt = |parameters: String| {
        let tool = Tool {
            name: "f".to_owned(),
            description: String::new(),
            parameters,
        };
        template(CHATML).prompt(&[], &[tool], &Options::default())
    };
    assert!(prompt(deep).unwrap_err().contains("recursion limit"));
    assert!(prompt("{".repeat(1 << 20)).unwrap_err().contains("no JSON"));
}

#[test]
fn long_conversations_are_rendered() {
    let turns = (0..2_000).flat_map(|_| [user("Hi"), assistant("Hello.")]);
    let messages: Vec<Message> = turns.collect();
    assert!(render(&template(CHATML), &messages).is_ok());
    let long = "{".repeat(1 << 20);
    let prompt = render(&template(CHATML), &[user(&long)]).unwrap();
    assert!(prompt.len() > long.len());
}
