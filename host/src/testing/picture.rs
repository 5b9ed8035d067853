//! Pictures of one or two colours, written as BMP and PNG without any library.

/// A picture whose pixels are given line by line from the top.
#[derive(Clone, Debug)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// A picture of one colour: red, green, blue.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        Self {
            width,
            height,
            pixels: vec![colour; width as usize * height as usize],
        }
    }

    /// The same, but its lower half has another colour.
    #[must_use]
    pub fn over(mut self, colour: [u8; 3]) -> Self {
        let half = self.pixels.len() / 2;
        self.pixels[half..].fill(colour);
        self
    }

    /// A BMP file with 24 bits for each pixel.
    pub fn to_bmp(&self) -> Vec<u8> {
        let row = (self.width * 3).next_multiple_of(4);
        let size = 54 + row * self.height;
        let mut file = b"BM".to_vec();
        for number in [size, 0, 54, 40, self.width, self.height] {
            file.extend(number.to_le_bytes());
        }
        // One plane, 24 bits.
        file.extend([1, 0, 24, 0]);
        file.extend([0; 24]);
        for line in self.pixels.chunks(self.width as usize).rev() {
            for [red, green, blue] in line {
                file.extend([blue, green, red]);
            }
            file.extend(vec![0; (row - self.width * 3) as usize]);
        }
        file
    }

    /// A PNG file that is not compressed.
    pub fn to_png(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for line in self.pixels.chunks(self.width as usize) {
            // No filter.
            lines.push(0);
            lines.extend(line.iter().flatten());
        }
        let mut header = Vec::new();
        header.extend(self.width.to_be_bytes());
        header.extend(self.height.to_be_bytes());
        // Eight bits each for red, green and blue.
        header.extend([8, 2, 0, 0, 0]);
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        chunk(&mut file, b"IHDR", &header);
        chunk(&mut file, b"IDAT", &stored(&lines));
        chunk(&mut file, b"IEND", &[]);
        file
    }
}

/// A chunk of a PNG file.
fn chunk(file: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(name);
    file.extend(data);
    let mut crc = u32::MAX;
    for byte in &file[start..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    file.extend((!crc).to_be_bytes());
}

/// The bytes in zlib's format, as they are.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}
