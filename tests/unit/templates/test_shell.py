"""Where a splice into a bash command stands."""

from __future__ import annotations

import pytest

from rqflow.dag.shell import inside


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", ""),
        ("echo ", ""),
        ("echo 'a' ", ""),
        ("echo 'a ", "single quotes"),
        ("echo $'a\\' ", "single quotes"),
        ("echo $'a\\'' ", ""),
        ('echo "a ', "double quotes"),
        ('echo "a\\" ', "double quotes"),
        ('echo "a\\\\" ', ""),
        ('echo "it\'s ', "double quotes"),
        ("echo it\\'s ", ""),
        ("echo `a ", "backquotes"),
        ("echo `a` ", ""),
        ('echo "`a` ', "double quotes"),
        ('echo "`a "b" ', "backquotes"),
        ('echo "$(a ', ""),
        ('echo "$(a "b ', "double quotes"),
        ('echo "$(a \'b\' (c) ) ', "double quotes"),
        ('echo "$(a)" ', ""),
        ("echo $((1 << 2)) ", ""),
        ("echo $(( (1 + 2) << 2 ", ""),
        ("echo ${a:-'x'} ", ""),
        ("echo ${a#x} # it's", "a comment"),
        ("echo ${a:-\"x ", "double quotes"),
        ('echo "${a:-\'x} ', "double quotes"),
        ('echo "${a:-', "double quotes"),
        ("echo a#b's ", "single quotes"),
        ("# it's", "a comment"),
        ("# it's\n", ""),
        ("true;# \"\necho ", ""),
        ("case x in a) echo ", ""),
        ("cat <<EOF\nit's ", "a here-document"),
        ("cat <<EOF\nit's\nEOF\n", ""),
        ("cat <<EOF\nit's\nEOF", ""),
        ("cat <<EOF\nit's\n", "a here-document"),
        ("cat <<'EOF'\nx\n", "a here-document"),
        ("cat <<-EOF\n\tit's\n\tEOF\necho ", ""),
        ("cat <<A <<B\nit's\nA\n\"\nB\necho ", ""),
        ("cat <<A <<B\nit's\nA\n\"\n", "a here-document"),
        ("cat <<< 'a' ", ""),
        ("cat << \\EOF\n'\nEOF\n", ""),
        ("a=(1 2) ", ""),
        ("f() { echo ", ""),
        ("[[ a < b ]] && echo ", ""),
    ],
)
def test_scanner_tells_where_a_text_ends(text: str, where: str) -> None:
    assert inside(text) == where
