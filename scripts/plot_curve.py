#!/usr/bin/env python3
"""Draw the curve of bench_python.py: bundle size against thousand documents a second on one harness.

usage: plot_curve.py CURVE.csv OUT.svg

Both axes are logarithmic. One line for Thalweg, one for the bare driver where it ran; the rate with bundles sized by
Thalweg itself is a dashed line across.
"""
import csv
import math
import sys

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 420, 70, 40, 130, 60
SERIES = [('rate', 'Thalweg', '#1f6feb'), ('bare_rate', 'bare driver', '#8b949e')]
TICKS = (1, 2, 5)


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    own = [r for r in rows if r['bundle'] == 'adaptive']
    rows = [r for r in rows if r['bundle'] != 'adaptive']
    sizes = [int(r['bundle']) for r in rows]
    rates = [float(r[name]) / 1000 for r in [*rows, *own] for name, _, _ in SERIES if r[name]]
    low, high = 10 ** math.floor(math.log10(min(rates))), max(rates) * 1.3
    x_of = lambda v: LEFT + (WIDTH - LEFT - RIGHT) * math.log(v / sizes[0]) / math.log(sizes[-1] / sizes[0])
    y_of = lambda v: TOP + (HEIGHT - TOP - BOTTOM) * (1 - math.log(v / low) / math.log(high / low))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="22" font-size="15">W3 on one Python harness: bundle size against throughput</text>']
    line = lambda x1, y1, x2, y2, style: out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')
    text = lambda x, y, what, more='': out.append(f'<text x="{x:.1f}" y="{y:.1f}" {more}>{what}</text>')
    decade = low
    while decade <= high:
        for tick in (decade * t for t in TICKS if decade * t <= high):
            line(LEFT, y_of(tick), WIDTH - RIGHT, y_of(tick), 'stroke="#e6e8eb"')
            text(LEFT - 8, y_of(tick) + 4, f'{tick:g}', 'text-anchor="end"')
        decade *= 10
    for size in sizes:
        line(x_of(size), HEIGHT - BOTTOM, x_of(size), HEIGHT - BOTTOM + 5, 'stroke="#57606a"')
        text(x_of(size), HEIGHT - BOTTOM + 20, f'{size:,}', f'text-anchor="end" transform="rotate(-35 {x_of(size):.1f} {HEIGHT - BOTTOM + 20})"')
    line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, 'stroke="#57606a"')
    text((WIDTH - RIGHT + LEFT) / 2, HEIGHT - 6, 'documents in a bundle', 'text-anchor="middle"')
    text(16, HEIGHT / 2, 'thousand documents a second', f'text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})"')
    places = []
    for name, title, color in reversed(SERIES):
        points = [(x_of(int(r['bundle'])), y_of(float(r[name]) / 1000)) for r in rows if r[name]]
        if not points:
            continue
        joined = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        out.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"/>')
        out.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points)
        places.append((points[-1][1], title, color))
    if own:
        y = y_of(float(own[0]['rate']) / 1000)
        line(LEFT, y, WIDTH - RIGHT, y, 'stroke="#1f6feb" stroke-dasharray="4 4"')
        places.append((y, 'sized by itself', '#1f6feb'))
    last = -100.0
    for y, title, color in sorted(places):
        last = max(y + 4, last + 14)  # names do not cover each other
        text(WIDTH - RIGHT + 8, last, title, f'fill="{color}"')
    out.append('</svg>')
    with open(sys.argv[2], 'w', encoding='utf-8') as file:
        file.write('\n'.join(out) + '\n')


if __name__ == '__main__':
    main()
