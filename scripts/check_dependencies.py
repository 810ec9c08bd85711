#!/usr/bin/env python3
"""Check bans, licences and sources of deny.toml for the crates of a Cargo workspace.

usage: check_dependencies.py MANIFEST...

It reads `cargo metadata` for the machine's own platform. Prints a line for each crate that breaks a rule; exit code 1.
"""
import json
import os
import re
import subprocess
import sys
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def allowed(expression, licences):
    """Whether a licence expression (SPDX, or the old form with slashes) can be met with the licences."""
    words = re.findall(r'\(|\)|[^\s()]+(?: WITH [^\s()]+)?', expression.replace('/', ' OR '))
    operators = {'(': '(', ')': ')', 'AND': ' and ', 'OR': ' or '}
    # only these words and True and False reach eval
    return eval(''.join(operators.get(word) or str(word in licences) for word in words))


def problems(manifest, rules, host):
    command = ['cargo', 'metadata', '--format-version=1', f'--filter-platform={host}', f'--manifest-path={manifest}']
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    used = {node['id'] for node in metadata['resolve']['nodes']}
    banned = {rule['crate']: rule for rule in rules['bans']['deny']}
    names = {package['id']: package['name'] for package in metadata['packages']}
    users = {}
    for node in metadata['resolve']['nodes']:
        for dependency in node['dependencies']:
            users.setdefault(dependency, set()).add(names[node['id']])
    for package in metadata['packages']:
        if package['id'] not in used:
            continue
        name = f"{package['name']} {package['version']}"
        rule = banned.get(package['name'])
        others = users.get(package['id'], set()) - set(rule.get('wrappers', [])) if rule else set()
        if rule and ('wrappers' not in rule or others):
            of = f" for {', '.join(sorted(others))}" if 'wrappers' in rule else ''
            yield f"{name} is banned{of}: {rule['reason']}"
        if not package['license'] or not allowed(package['license'], set(rules['licenses']['allow'])):
            yield f"{name} has the licence {package['license']}, which deny.toml does not allow"
        if package['source'] and not package['source'].startswith('registry+'):
            yield f"{name} comes from {package['source']}: only the registry and paths are allowed"


def main(manifests):
    with open(os.path.join(ROOT, 'deny.toml'), 'rb') as file:
        rules = tomllib.load(file)
    version = subprocess.run(['rustc', '-vV'], check=True, stdout=subprocess.PIPE, text=True).stdout
    host = re.search('^host: (.*)$', version, re.M).group(1)
    found = [problem for manifest in manifests for problem in problems(manifest, rules, host)]
    print('\n'.join(found) or f'the dependencies of {", ".join(manifests)} keep the rules')
    return 1 if found else 0


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
