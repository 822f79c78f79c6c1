"""Expressions by their names, whatever order a data set numbers them in."""

from hypothesis import given
from hypothesis import strategies as st

from fer_jax import labels


def test_names_become_fer2013s_words():
    words = {"Anger": "angry", " HAPPINESS ": "happy", "su": "surprise", "Cat": "cat"}
    words["\u200bWu\u0308tend\u00a0"] = "w\u00fctend"
    for name, canonical in words.items():
        assert labels.canonical(name) == canonical


def test_every_list_names_expressions_once():
    for names in (labels.FER2013, labels.FERPLUS, labels.CKPLUS, labels.JAFFE):
        words = [labels.canonical(name) for name in names]
        assert len(set(words)) == len(words) and set(words) <= set(labels.EXPRESSIONS)


def test_many_names_are_a_short_line():
    assert labels.in_order(("angry", "sad")) == "labels in order: 0 angry, 1 sad"
    many = [f"class {number}" for number in range(300)]
    assert labels.in_order(many) == "300 classes: class 0, class 1, class 2, ..."


def test_columns_bring_one_order_into_another():
    assert labels.columns(labels.FER2013, labels.FERPLUS) == [4, 5, 6, 1, 3, 2, 0]
    assert labels.columns(labels.FERPLUS, labels.FER2013)[-1] == -1  # contempt
    assert labels.columns(("cat", "dog"), labels.FER2013) == [-1, -1]


@given(st.permutations(labels.EXPRESSIONS), st.permutations(labels.EXPRESSIONS))
def test_columns_of_a_permutation_undo_each_other(one, other):
    there, back = labels.columns(one, other), labels.columns(other, one)
    assert [there[i] for i in back] == list(range(len(one)))


def test_equal_names_keep_their_places_even_where_two_mean_the_same():
    assert labels.columns(("anger", "angry"), ("anger", "angry")) == [0, 1]


def test_names_for_opencv_are_ascii_and_tell_classes_apart():
    found = labels.latin(("glücklich", "怒り", "anger", "😀", ""))
    assert found == ["glucklich", "class 1", "anger", "class 3", "class 4"]
