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
            "{% set ns = namespace(a=1) %}{% set ns.a = ns %}{{ ns }}",
            &"{% set a = [a] %}".repeat(10_000),
        ] {
            let error = give(source).unwrap_err();
            assert!(error.contains("100 deep"), "{source}: {error}");
        }
        for source in [
            "{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}",
            "{% macro f(x) %}{{ f([[[[[[[[[[[[[[[[[[[[x, x]]]]]]]]]]]]]]]]]]]]) }}{% endmacro %}{{ f(1) }}",
            "{% for i in range(9) recursive %}{{ loop([1]) }}{% endfor %}",
        ] {
            let error = give(source).unwrap_err();
            assert!(error.contains("recursion"), "{source}: {error}");
        }
    });
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
