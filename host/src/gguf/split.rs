//! Split models: several files, whose names say where each belongs.

/// A file of a split model: `NAME-00002-of-00003.gguf` is the second part of three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What all parts' names begin with.
    pub name: String,
    /// Which part this is, from 1.
    pub number: u32,
    /// How many parts there are.
    pub count: u32,
}

impl Part {
    /// What the name of a file says; nothing if it is not that of a part.
    pub fn parse(file: &str) -> Option<Self> {
        let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (name, number) = rest.rsplit_once('-')?;
        let (number, count) = (five_digits(number)?, five_digits(count)?);
        if name.is_empty() || !(1..=count).contains(&number) {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            number,
            count,
        })
    }

    /// The name of another part's file.
    pub fn file(&self, number: u32) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.name, self.count)
    }
}

fn five_digits(text: &str) -> Option<u32> {
    if text.len() != 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let part = Part::parse("a-b-00002-of-00012.gguf").unwrap();
        let expected = Part {
            name: "a-b".to_owned(),
            number: 2,
            count: 12,
        };
        assert_eq!(part, expected);
        assert_eq!(part.file(2), "a-b-00002-of-00012.gguf");
        assert_eq!(part.file(12), "a-b-00012-of-00012.gguf");
        for whole in [
            "a.gguf",
            "a-00001-of-3.gguf",
            "a-1-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "a-00000-of-00003.gguf",
            "a-00000-of-00000.gguf",
            "a-+0001-of-00003.gguf",
            "a-00001-of-00003.bin",
            "-00001-of-00003.gguf",
            "00001-of-00003.gguf",
        ] {
            assert_eq!(Part::parse(whole), None, "{whole}");
        }
    }
}
