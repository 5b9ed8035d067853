//! What is text, though it looks like a call.

use super::*;

#[test]
fn what_is_no_call_is_text() {
    for text in [
        "",
        " \n",
        "a < b <tool_",
        "the <tool_call> tag",
        "<tool_call>",
        "<tool_call>\n{\"name\": ",
        "<tool_call>{\"name\": f}</tool_call>",
        "<tool_call>{\"name\": \"f</tool_call>",
        "<tool_call>{\"arguments\": {}}</tool_call> and",
        "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
        "<tool_call>[]</tool_call>",
        "<tool_call>[{\"name\": \"f\"}, 1]</tool_call>",
        "<tool_call>{\"name\": \"\"}</tool_call>",
        "<tool_call><function=f>\n<parameter=a>1",
    ] {
        let expected: &[Is<'_>] = match text {
            "" => &[],
            text => &[Text(text)],
        };
        check(Format::Hermes, text, expected);
    }
}

#[test]
fn a_malformed_call_does_not_hide_the_next() {
    let bad = "<tool_call>{\"name\": \"f</tool_call>\n";
    let good = "<tool_call>{\"name\": \"f\"}</tool_call>";
    for bad in [
        bad,
        "<tool_call>{\"name\": f}</tool_call>\n",
        "<tool_call><tool_call",
        "<tool_call>",
    ] {
        // A string goes on to the end of its line.
        let bad = &*bad.replace("f</tool_call>\n", "f\n</tool_call>\n");
        check(
            Format::Hermes,
            &format!("{bad}{good}"),
            &[Text(bad), Call("call_0", "f", "{}")],
        );
    }
}

#[test]
fn text_is_not_held_back_longer_than_it_must_be() {
    let mut parser = Parser::new(Format::Hermes, &[]);
    assert_eq!(parser.push("1 < 2 <"), pieces(&[Text("1 < 2 ")]));
    assert_eq!(parser.push("tool"), []);
    assert_eq!(
        parser.push("box> <tool_call> x"),
        pieces(&[Text("<toolbox> <tool_call> x")])
    );
    assert_eq!(
        parser.push("<tool_call>{\"name\": \"f\"}"),
        pieces(&[Call("call_0", "f", "{}")])
    );
    assert_eq!(parser.push("\n</tool_"), []);
    assert_eq!(parser.end(), pieces(&[Text("\n</tool_")]));
}
