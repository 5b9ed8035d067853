//! Each command line with one prompt: what is printed is what the example prints under WasmEdge.

use crate::command_line::{END, Folder, says, speaker, tokens, with_metadata};
use llm_wasi_host::testing::TinyModel;

/// A prompt as models of the Llama family know it.
const LLAMA: &str =
    "[INST] <<SYS>>\nYou are an AI assistant\n<</SYS>>\nWhat is the capital of Japan?[/INST]";
const CHATML: &str = "<|im_start|>system\nYou are an AI assistant<|im_end|>\n<|im_start|>user\n\
                      Where is the capital of Japan?<|im_end|>\n<|im_start|>assistant";

#[test]
fn basic() {
    // The host prints the text, and the program the end of its line.
    let model = TinyModel::new();
    let prompt = "def print_hello_world():";
    let text = says(&model, prompt, 100);
    let ended = Folder::new()
        .with("starcoder2-7b-Q5_K_M.gguf", &model)
        .wasmedge(
            "wasmedge --dir .:. --env n_predict=100 \
             --nn-preload default:GGML:AUTO:starcoder2-7b-Q5_K_M.gguf wasmedge-ggml-basic.wasm default",
        )
        .arg(prompt)
        .run();
    ended.is(&format!("Prompt:\n{prompt}\nResponse:\n{text}\n"));
    assert_eq!(ended.stderr, "");
}

#[test]
fn llama() {
    let (model, text) = speaker(LLAMA, 12);
    let folder = Folder::new().with("Meta-Llama-3-8B-Instruct.Q5_K_M.gguf", &model);
    let expected = with_metadata(LLAMA, &format!("{text}{END}"), 13);
    for variables in [
        "",
        "--env llama3=true",
        "--env n_gpu_layers=100 --env enable_log=true",
    ] {
        folder
            .wasmedge(&format!(
                "wasmedge --dir .:. {variables} \
                 --nn-preload default:GGML:AUTO:Meta-Llama-3-8B-Instruct.Q5_K_M.gguf \
                 wasmedge-ggml-llama.wasm default"
            ))
            .arg(LLAMA)
            .run()
            .is(&expected);
    }
}

#[test]
fn llama_stream() {
    let (model, text) = speaker(LLAMA, 12);
    // The token that ends the text is counted, and the program does not print it.
    Folder::new()
        .with("llama-2-7b-chat.Q5_K_M.gguf", &model)
        .wasmedge(
            "wasmedge --dir .:. --nn-preload default:GGML:AUTO:llama-2-7b-chat.Q5_K_M.gguf \
             wasmedge-ggml-llama-stream.wasm default",
        )
        .arg(LLAMA)
        .run()
        .is(&with_metadata(LLAMA, &text, 13));
}

#[test]
fn llama_stream_until_the_context_is_full() {
    let model = TinyModel::new();
    let places = 256 - tokens(LLAMA);
    let text = says(&model, LLAMA, places);
    let told = "\n[INFO] Context full, we'll reset the context and continue.\n";
    Folder::new()
        .with("llama-2-7b-chat.Q5_K_M.gguf", &model)
        .wasmedge(
            "wasmedge --dir .:. --env ctx_size=256 \
             --nn-preload default:GGML:AUTO:llama-2-7b-chat.Q5_K_M.gguf \
             wasmedge-ggml-llama-stream.wasm default",
        )
        .arg(LLAMA)
        .run()
        .is(&with_metadata(LLAMA, &format!("{text}{told}"), places + 1));
}

#[test]
fn chatml() {
    let (model, text) = speaker(CHATML, 12);
    let folder = Folder::new().with("mixtral-8x7b-instruct-v0.1.Q5_K_M.gguf", &model);
    let line = |variables: &str| {
        let line = format!(
            "wasmedge --dir .:. {variables} \
             --nn-preload default:GGML:AUTO:mixtral-8x7b-instruct-v0.1.Q5_K_M.gguf \
             wasmedge-ggml-chatml.wasm default"
        );
        folder.wasmedge(&line).arg(CHATML).run()
    };
    line("").is(&with_metadata(CHATML, &format!("{text}{END}"), 13));
    // The reverse prompt is taken as it is, and stays in the text.
    let stop = &text[7..9];
    line(&format!("--env ctx_size=512 --env 'reverse_prompt={stop}'")).is(&with_metadata(
        CHATML,
        &text[..9],
        9,
    ));
}

#[test]
fn gemma() {
    let prompt =
        "<start_of_turn>user Where is the capital of Japan? <end_of_turn><start_of_turn>model";
    let (model, text) = speaker(prompt, 12);
    // Once by the host while it computes, once by the program.
    Folder::new()
        .with("gemma-2b-it-Q4_K_M.gguf", &model)
        .wasmedge(
            "wasmedge --dir .:. --nn-preload default:GGML:AUTO:gemma-2b-it-Q4_K_M.gguf \
             ./wasmedge-ggml-gemma.wasm default",
        )
        .arg(prompt)
        .run()
        .is(&format!(
            "Prompt:\n{prompt}\nResponse:\n{text}{END}{text}{END}\n"
        ));
}

#[test]
fn embedding() {
    let ended = Folder::new()
        .with("all-MiniLM-L6-v2-ggml-model-f16.gguf", &TinyModel::new())
        .wasmedge(
            "wasmedge --dir .:. --nn-preload default:GGML:AUTO:all-MiniLM-L6-v2-ggml-model-f16.gguf \
             wasmedge-ggml-llama-embedding.wasm default 'hello world'",
        )
        .run();
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.stdout.lines().nth(3).expect("the embedding");
    // WasmEdge's own form: a space after each colon and between the two, none in the list.
    assert!(
        json.starts_with(r#"{"n_embedding": 64, "embedding": ["#),
        "{json}"
    );
    assert!(json.ends_with("]}"), "{json}");
    assert_eq!(json.matches(' ').count(), 3, "{json}");
    let embedding: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let elements = embedding["embedding"].as_array().expect("a list");
    assert_eq!(elements.len(), 64);
    let first: String = elements[..5]
        .iter()
        .enumerate()
        .map(|(i, element)| format!("embd[{i}] = {element}\n"))
        .collect();
    ended.is(&format!(
        "Prompt:\nhello world\nRaw Embedding Output:\n{json}\nInteract with Embedding:\nN_Embd: 64\n\
         Show the first 5 elements:\n{first}"
    ));
}

/// The model wants to say other letters: that its text is JSON so far is the grammar's doing.
#[test]
fn grammar_and_json_schema() {
    for (example, model, start) in [
        ("grammar", "llama-2-7b.Q5_K_M.gguf", "{"),
        ("json-schema", "llama-2-7b-chat.Q5_K_M.gguf", "["),
    ] {
        let prompt = "JSON object with 5 country names as keys and their capitals as values: ";
        let ended = Folder::new()
            .with(model, &TinyModel::new())
            .wasmedge(&format!(
                "wasmedge --dir .:. --env n_predict=99 --nn-preload default:GGML:AUTO:{model} \
                 wasmedge-ggml-{example}.wasm default"
            ))
            .arg(prompt)
            .run();
        assert_eq!(ended.code, 0, "{ended:?}");
        let text = ended.text();
        assert!(text.starts_with(start), "{text}");
        let tokens = tokens(prompt);
        for line in [
            format!("[INFO] Number of input tokens: {tokens}\n{start}"),
            format!("\n[INFO] Number of input tokens: {tokens}\n[INFO] Number of output tokens: "),
        ] {
            assert!(ended.stdout.contains(&line), "{}", ended.stdout);
        }
    }
}

#[test]
fn multimodel() {
    let prompt = "describe this picture please";
    let (llama2, of_llama2) = speaker(prompt, 12);
    let (llava, of_llava) = speaker(prompt, 20);
    Folder::new()
        .with("llama-2-7b-chat.Q5_K_M.gguf", &llama2)
        .with("vicuna-7b-q5_k.gguf", &llava)
        .wasmedge(&format!(
            "wasmedge --dir .:. --nn-preload llama2:GGML:AUTO:llama-2-7b-chat.Q5_K_M.gguf \
             --nn-preload llava:GGML:AUTO:vicuna-7b-q5_k.gguf wasmedge-ggml-multimodel.wasm '{prompt}'"
        ))
        .run()
        .is(&format!(
            "USER:\n{prompt}\nASSISTANT (llava):\n{of_llava}{END}\nASSISTANT (llama2):\n{of_llama2}{END}\n"
        ));
}

#[test]
fn nnrpc() {
    let (model, text) = speaker(LLAMA, 12);
    let tokens = tokens(LLAMA);
    // On one machine, as WasmEdge's own tests run it. Metadata comes before `Response:` here.
    Folder::new()
        .with("llama-2-7b-chat.Q5_K_M.gguf", &model)
        .wasmedge(
            "wasmedge --nn-preload default:GGML:AUTO:llama-2-7b-chat.Q5_K_M.gguf \
             wasmedge-ggml-nnrpc.wasm default",
        )
        .arg(LLAMA)
        .run()
        .is(&format!(
            "Prompt:\n{LLAMA}\n[INFO] llama_commit: VERSION\n[INFO] llama_build_number: NUMBER\n\
             [INFO] Number of input tokens: {tokens}\nResponse:\n{text}{END}\n\
             [INFO] Number of input tokens: {tokens}\n[INFO] Number of output tokens: 13\n"
        ));
}

#[test]
fn model_not_found() {
    let ended = Folder::new()
        .wasmedge(
            "wasmedge --dir .:. --nn-preload default:GGML:AUTO:model-not-found.gguf \
             wasmedge-ggml-model-not-found.wasm default",
        )
        .run();
    ended.is("Model not found\n");
    // Whoever typed the line gets the reason.
    assert!(ended.stderr.contains("model-not-found.gguf"), "{ended:?}");
}

#[test]
fn set_input_twice() {
    let line = "wasmedge --dir .:. --nn-preload default:GGML:AUTO:llama-2-7b-chat.Q5_K_M.gguf \
                wasmedge-ggml-set-input-twice.wasm default";
    let folder = Folder::new().with("llama-2-7b-chat.Q5_K_M.gguf", &TinyModel::new());
    let once = format!(
        "[INFO] llama_commit: VERSION\n[INFO] llama_build_number: NUMBER\n\
         [INFO] Number of input tokens: {}\n",
        tokens(LLAMA)
    );
    folder
        .wasmedge(line)
        .arg(LLAMA)
        .run()
        .is(&format!("Prompt:\n{LLAMA}\nResponse:\n{once}{once}"));
    folder
        .wasmedge(line)
        .run()
        .is("Usage: wasmedge-ggml-set-input-twice.wasm <model_name> <prompt>\n");
}

#[test]
fn unload() {
    let line = "wasmedge --dir .:. --nn-preload default:GGML:AUTO:llama-2-7b-chat.Q5_K_M.gguf \
                wasmedge-ggml-unload.wasm default";
    let (model, text) = speaker(LLAMA, 12);
    let folder = Folder::new().with("llama-2-7b-chat.Q5_K_M.gguf", &model);
    // Handles are not given twice.
    let expected: String = (0..5)
        .map(|i| {
            format!(
                "----- Test {} -----\nGraph Graph#{i} loaded.\nPrompt:\n{LLAMA}\nResponse:\n{text}{END}\n",
                i + 1
            )
        })
        .collect();
    folder.wasmedge(line).arg(LLAMA).run().is(&expected);
    let ended = folder.wasmedge(line).run();
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stdout,
        "Usage: wasmedge-ggml-unload.wasm <model_name> <prompt>\n"
    );
}

#[test]
fn phi_3() {
    let prompt = "<|user|>\nWhat is the capital of Japan?<|end|>\n<|assistant|>";
    let (model, text) = speaker(prompt, 12);
    Folder::new()
        .with("Phi-3-mini-4k-instruct-q4.gguf", &model)
        .wasmedge(
            "wasmedge --dir .:. --nn-preload default:GGML:AUTO:Phi-3-mini-4k-instruct-q4.gguf \
             wasmedge-ggml-phi-3-mini.wasm default",
        )
        .arg(prompt)
        .run()
        .is(&format!(
            "Graph Graph#0 loaded.\nPrompt:\n{prompt}\nResponse:\n{text}{END}\n"
        ));
}
