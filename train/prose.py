#!/usr/bin/env python3
"""Prose to train on, out of HTML pages: a JSON array of {title, text}, one paragraph each.

Usage: prose.py OUT.json [--add PASSAGES.json] [--bytes N] FOLDER...
"""
import argparse
import html.parser
import json
import pathlib
import random


class Paragraphs(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.inside, self.text, self.all = False, [], []

    def handle_starttag(self, tag, attrs):
        if tag == "p":
            self.end_paragraph()
            self.inside = True

    def handle_endtag(self, tag):
        if tag in ("p", "body"):
            self.end_paragraph()

    def handle_data(self, data):
        if self.inside:
            self.text.append(data)

    def end_paragraph(self):
        text = " ".join("".join(self.text).split())
        if len(text) > 120 and text[-1] in '.!?"':
            self.all.append(text)
        self.inside, self.text = False, []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--add", help="passages that go in as they are")
    parser.add_argument("--bytes", type=int, default=2_500_000, help="of prose, whole pages, drawn with a fixed seed")
    options = parser.parse_args()

    pages = sorted(page for folder in options.folders for page in folder.rglob("*.html") if page.is_file())
    random.Random(1).shuffle(pages)
    passages, size = [], 0
    for page in pages:
        if size >= options.bytes:
            break
        reader = Paragraphs()
        reader.feed(page.read_text(encoding="utf-8", errors="ignore"))
        passages += [{"title": "", "text": text} for text in reader.all]
        size += sum(len(text) for text in reader.all)
    if options.add:
        passages += json.load(open(options.add, encoding="utf-8"))
    with open(options.out, "w", encoding="utf-8") as out:
        json.dump(passages, out, ensure_ascii=False)
    print(f"{len(passages)} passages, {size} bytes of prose from {len(pages)} pages")


if __name__ == "__main__":
    main()
