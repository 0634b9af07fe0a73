"""Fictional names in a realistic mix: surnames by frequency, one- and two-character given names,
compound surnames, minority names with ·, and characters that old systems lack (䶮, 𬱖, 㐂, 鿍)."""

from __future__ import annotations

import random
from itertools import accumulate

# The most frequent surnames with their share of the population in hundredths of a per cent
# (Ministry of Public Security, name report 2020, rounded).
_SURNAMES: dict[str, int] = {
    "王": 723, "李": 717, "张": 678, "刘": 520, "陈": 453, "杨": 308, "黄": 223, "赵": 229,
    "吴": 205, "周": 212, "徐": 167, "孙": 154, "马": 129, "朱": 126, "胡": 131, "郭": 115,
    "何": 117, "林": 118, "高": 107, "罗": 95, "郑": 93, "梁": 91, "谢": 86, "宋": 81, "唐": 78,
    "许": 75, "韩": 68, "邓": 74, "冯": 64, "曹": 60, "彭": 64, "曾": 58, "肖": 56, "田": 57,
    "董": 53, "潘": 51, "袁": 50, "蔡": 49, "蒋": 48, "余": 48, "于": 47, "杜": 46, "叶": 44,
    "程": 44, "魏": 43, "苏": 43, "吕": 41, "丁": 40, "任": 40, "卢": 40, "姚": 38, "沈": 39,
    "钟": 38, "姜": 37, "崔": 36, "谭": 36, "陆": 35, "范": 34, "汪": 33, "廖": 33, "石": 33,
    "金": 33, "韦": 31, "贾": 31, "夏": 30, "付": 30, "方": 29, "邹": 29, "熊": 28, "白": 28,
    "孟": 27, "秦": 27, "邱": 27, "侯": 26, "江": 26, "尹": 24, "薛": 24, "闫": 23, "段": 22,
    "雷": 22, "龙": 20, "黎": 20, "史": 19, "陶": 19, "贺": 18, "毛": 18, "郝": 18, "顾": 17,
    "龚": 17, "邵": 17, "万": 17, "覃": 16, "武": 16, "钱": 16, "戴": 15, "严": 15, "莫": 14,
    "欧阳": 9, "上官": 1, "司马": 1, "诸葛": 1, "皇甫": 1,
}  # fmt: skip
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建国文辉力志红梅玲燕鹏飞雪云宇浩轩梓"
    "涵子怡欣雨佳琪思嘉俊博晨昊然一诺奕泽铭睿瑞彤妍婷颖慧洁倩琳璐莹萍萌凯龙斌波健康永兴"
    "春夏秋冬东西南北金银玉珍珠宝贵福寿安乐清正义仁和美善良德立成树林森海江河川山石峰岩松柏"
)
_RARE = "䶮𬱖㐂鿍"
_MINORITY_FIRST = (
    "阿卜杜拉", "买买提", "艾力", "古丽娜尔", "帕提古丽", "吐尔逊", "热依汗", "木拉提", "叶尔肯",
    "巴特尔", "娜仁", "阿依古丽",
)  # fmt: skip
_MINORITY_LAST = (
    "买买提", "艾合买提", "吐尔逊", "依明", "阿布都热合曼", "斯马依", "玉素甫", "哈力克", "赛买提",
    "库尔班", "牙生", "奥斯曼",
)  # fmt: skip

_SURNAME_LIST = list(_SURNAMES)
_CUMULATIVE = list(accumulate(_SURNAMES.values()))


def fictional_name(dice: random.Random) -> str:
    """A name: 1.5 % minority names with ·, 0.4 % with a rare character."""
    turn = dice.random()
    if turn < 0.015:
        return f"{dice.choice(_MINORITY_FIRST)}·{dice.choice(_MINORITY_LAST)}"
    surname = dice.choices(_SURNAME_LIST, cum_weights=_CUMULATIVE)[0]
    if turn < 0.019:
        return surname + dice.choice(_RARE)
    first = dice.choice(_GIVEN)
    return surname + first if turn < 0.17 else surname + first + dice.choice(_GIVEN)


def other_name(dice: random.Random, name: str) -> str:
    """A name that differs from ``name``."""
    while True:
        other = fictional_name(dice)
        if other != name:
            return other
