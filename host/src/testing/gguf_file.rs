//! GGUF files, written without any tool, and random numbers to fill them.

/// What tensors begin at multiples of.
pub(super) const ALIGNMENT: usize = 32;

/// SplitMix64: short, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About normal with variance 1: the sum of twelve uniform numbers.
    pub(super) fn normal(&mut self) -> f32 {
        let sum: f64 = (0..12)
            .map(|_| (self.next() >> 11) as f64 / (1_u64 << 53) as f64)
            .sum();
        (sum - 6.0) as f32
    }
}

/// A tensor for a file.
pub(super) struct Tensor {
    pub(super) name: String,
    dimensions: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Tensor {
    pub(super) fn new(name: &str, dimensions: &[usize], values: Vec<f32>) -> Self {
        Self {
            name: name.to_owned(),
            dimensions: dimensions.to_vec(),
            values,
        }
    }
}

/// A GGUF file that is being written.
#[derive(Default)]
pub(super) struct Gguf {
    entries: u64,
    metadata: Vec<u8>,
    tensors: u64,
    descriptions: Vec<u8>,
    data: Vec<u8>,
}

impl Gguf {
    fn key(&mut self, key: &str, ty: u32) {
        self.entries += 1;
        put_text(&mut self.metadata, key);
        self.metadata.extend(ty.to_le_bytes());
    }

    pub(super) fn short(&mut self, key: &str, value: u16) {
        self.key(key, 2);
        self.metadata.extend(value.to_le_bytes());
    }

    pub(super) fn signed(&mut self, key: &str, value: i32) {
        self.key(key, 5);
        self.metadata.extend(value.to_le_bytes());
    }

    pub(super) fn number(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.metadata.extend(value.to_le_bytes());
    }

    pub(super) fn real(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.metadata.extend(value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.key(key, 7);
        self.metadata.push(u8::from(value));
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        put_text(&mut self.metadata, value);
    }

    pub(super) fn texts(&mut self, key: &str, values: &[String]) {
        self.key(key, 9);
        self.metadata.extend(8_u32.to_le_bytes());
        self.metadata.extend((values.len() as u64).to_le_bytes());
        for value in values {
            put_text(&mut self.metadata, value);
        }
    }

    pub(super) fn numbers(&mut self, key: &str, values: &[i32]) {
        self.key(key, 9);
        self.metadata.extend(5_u32.to_le_bytes());
        self.metadata.extend((values.len() as u64).to_le_bytes());
        for value in values {
            self.metadata.extend(value.to_le_bytes());
        }
    }

    pub(super) fn reals(&mut self, key: &str, values: &[f32]) {
        self.key(key, 9);
        self.metadata.extend(6_u32.to_le_bytes());
        self.metadata.extend((values.len() as u64).to_le_bytes());
        for value in values {
            self.metadata.extend(value.to_le_bytes());
        }
    }

    pub(super) fn tensor(&mut self, tensor: Tensor) {
        self.tensors += 1;
        self.data
            .resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        put_text(&mut self.descriptions, &tensor.name);
        self.descriptions
            .extend((tensor.dimensions.len() as u32).to_le_bytes());
        for size in tensor.dimensions {
            self.descriptions.extend((size as u64).to_le_bytes());
        }
        // Type 0 is `f32`.
        self.descriptions.extend(0_u32.to_le_bytes());
        self.descriptions
            .extend((self.data.len() as u64).to_le_bytes());
        for value in tensor.values {
            self.data.extend(value.to_le_bytes());
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensors.to_le_bytes());
        file.extend(self.entries.to_le_bytes());
        file.extend(self.metadata);
        file.extend(self.descriptions);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(self.data);
        file
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
