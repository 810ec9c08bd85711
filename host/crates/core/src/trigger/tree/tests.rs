//! Trigger trees asked step by step, without windows, values or a clock of their own.

use super::*;

use Trigger::{AfterAll, AfterAny, AfterEach, AfterProcessingTime, Always, ElementCount, Never, Repeat};

fn at(now: i64) -> Moment {
    Moment { ended: false, now: ProcessingTime(now), settled: true }
}

fn ended(now: i64) -> Moment {
    Moment { ended: true, ..at(now) }
}

fn delay(ms: i64) -> Trigger {
    AfterProcessingTime(vec![TimestampTransform::Delay(ms)])
}

fn end_of_window(early: Option<Trigger>, late: Option<Trigger>) -> Trigger {
    Trigger::AfterEndOfWindow { early: early.map(Box::new), late: late.map(Box::new) }
}

/// What happens to a tree.
#[derive(Clone, Copy)]
enum Step {
    Element,
    Clock(i64),
    End,
}

use Step::{Clock, Element, End};

/// The steps after which it fired; the tree is asked after each. A `!` says that it has finished.
fn firings(trigger: Trigger, steps: &[Step]) -> String {
    let tree = Tree::new(&trigger, false);
    let (mut memory, mut moment, mut told) = (tree.memory(), at(0), String::new());
    for step in steps {
        match step {
            Element => tree.on_element(&mut memory, moment),
            Clock(now) => moment.now = ProcessingTime(*now),
            End => moment.ended = true,
        }
        let due = tree.should_fire(&memory, moment);
        told.push(if due { 'F' } else { '.' });
        if due {
            tree.on_fire(&mut memory, moment);
        }
        if tree.is_finished(&memory) {
            told.push('!');
            break;
        }
    }
    told
}

#[test]
fn a_count_fires_once_and_a_repeated_one_again_and_again() {
    let five = [Element; 5];
    assert_eq!(firings(ElementCount(2), &five), ".F!");
    assert_eq!(firings(Repeat(Box::new(ElementCount(2))), &five), ".F.F.");
    assert_eq!(firings(Always, &five), "FFFFF");
    assert_eq!(firings(Never, &[Element, End, Clock(9)]), "...");
}

#[test]
fn processing_time_counts_from_the_first_element() {
    let steps = [Clock(7), Element, Clock(10), Element, Clock(12), Element, Clock(16), Clock(17)];
    assert_eq!(firings(delay(5), &steps), "....F!");
    assert_eq!(firings(Repeat(Box::new(delay(5))), &steps), "....F..F");
    let align = AfterProcessingTime(vec![TimestampTransform::AlignTo { period: 10, offset: 1 }]);
    assert_eq!(firings(align, &steps), "....F!", "the first element came at seven");
}

#[test]
fn a_time_is_rounded_up_and_a_multiple_stays() {
    let align = TimestampTransform::AlignTo { period: 10, offset: 1 };
    let of = |now, steps: &[TimestampTransform]| transform(ProcessingTime(now), steps);
    assert_eq!((of(1, &[align]), of(2, &[align]), of(11, &[align]), of(-3, &[align])), (1, 11, 11, 1));
    assert_eq!(of(2, &[TimestampTransform::Delay(10), align]), 21);
}

#[test]
fn all_waits_for_each_and_any_for_one() {
    let both = || vec![ElementCount(2), delay(5)];
    assert_eq!(firings(AfterAll(both()), &[Element, Clock(5), Element]), "..F!");
    assert_eq!(firings(AfterAll(both()), &[Element, Element, Clock(5)]), "..F!");
    assert_eq!(firings(AfterAny(both()), &[Element, Clock(5)]), ".F!");
    assert_eq!(firings(AfterAny(both()), &[Element, Element]), ".F!");
    // the clock begins anew with the pane, also where the count ended it
    let again = Repeat(Box::new(AfterAny(both())));
    assert_eq!(firings(again, &[Element, Clock(3), Element, Element, Clock(5), Clock(8)]), "..F..F");
}

#[test]
fn each_speaks_in_turn() {
    let trigger = AfterEach(vec![ElementCount(1), ElementCount(2), end_of_window(None, None)]);
    assert_eq!(firings(trigger, &[Element, Element, Element, Element, End]), "F.F.F!");
}

#[test]
fn or_finally_ends_with_either() {
    let or = |main: Trigger, finally: Trigger| Trigger::OrFinally { main: Box::new(main), finally: Box::new(finally) };
    assert_eq!(firings(or(Repeat(Box::new(ElementCount(1))), ElementCount(3)), &[Element; 5]), "FFF!");
    assert_eq!(firings(or(ElementCount(2), delay(9)), &[Element; 5]), ".F!");
}

#[test]
fn an_end_of_window_has_early_one_and_late_firings() {
    let steps = [Element, Element, Element, End, Element, Element, Element];
    assert_eq!(firings(end_of_window(None, None), &steps), "...F!");
    assert_eq!(firings(end_of_window(Some(ElementCount(2)), None), &steps), ".F.F!");
    assert_eq!(firings(end_of_window(Some(ElementCount(2)), Some(ElementCount(3))), &steps), ".F.F..F");
    assert_eq!(firings(end_of_window(None, Some(Always)), &steps), "...FFFF");
    assert_eq!(firings(Trigger::Default, &steps), "...FFFF");
}

#[test]
fn synchronized_time_waits_for_what_arrives_together() {
    let tree = Tree::new(&Trigger::AfterSynchronizedProcessingTime, false);
    let mut memory = tree.memory();
    tree.on_element(&mut memory, at(4));
    assert!(!tree.should_fire(&memory, Moment { settled: false, ..at(4) }));
    assert_eq!(tree.alarm(&memory, ProcessingTime(i64::MIN)), Some(ProcessingTime(4)));
    assert!(tree.should_fire(&memory, at(4)));
}

/// A memory after so many elements, the first of them at `now`, and perhaps a firing.
fn after(tree: &Tree, elements: usize, now: i64, fired: Option<Moment>) -> Memory {
    let mut memory = tree.memory();
    (0..elements).for_each(|_| tree.on_element(&mut memory, at(now)));
    fired.into_iter().for_each(|moment| tree.on_fire(&mut memory, moment));
    memory
}

#[test]
fn merged_windows_add_their_counts_and_keep_the_earliest_clock() {
    let tree = Tree::new(&AfterAny(vec![ElementCount(3), delay(5)]), true);
    let merged = tree.merge(&[&after(&tree, 1, 4, None), &after(&tree, 1, 2, None)], at(5));
    assert_eq!(tree.alarm(&merged, ProcessingTime(0)), Some(ProcessingTime(7)));
    assert!(!tree.should_fire(&merged, at(6)));
    let merged = tree.merge(&[&merged, &after(&tree, 1, 6, None)], at(6));
    assert!(tree.should_fire(&merged, at(6)), "three elements are there");
}

#[test]
fn a_count_that_was_reached_in_one_window_is_reached_in_the_merged_one() {
    let tree = Tree::new(&ElementCount(2), true);
    let merged = tree.merge(&[&after(&tree, 2, 0, Some(at(0))), &after(&tree, 1, 0, None)], at(0));
    assert!(tree.is_finished(&merged));
}

#[test]
fn an_end_of_window_comes_back_to_life_when_a_merge_moves_it_on() {
    let tree = Tree::new(&end_of_window(Some(ElementCount(9)), Some(ElementCount(2))), true);
    let over = || after(&tree, 1, 0, Some(ended(0)));
    let merged = tree.merge(&[&over(), &over()], ended(0));
    assert!(!tree.should_fire(&merged, ended(0)), "all had ended: late firings count");
    let merged = tree.merge(&[&over(), &over()], at(0));
    assert!(!tree.should_fire(&merged, at(0)) && tree.should_fire(&merged, ended(0)), "the new end is still to come");
    let merged = tree.merge(&[&over(), &after(&tree, 1, 0, None)], ended(0));
    assert!(tree.should_fire(&merged, ended(0)), "one had still to speak");
}

#[test]
fn each_goes_back_to_the_first_that_is_alive_after_a_merge() {
    let tree = Tree::new(&AfterEach(vec![end_of_window(None, None), ElementCount(1)]), true);
    let past = after(&tree, 1, 0, Some(ended(0)));
    let merged = tree.merge(&[&past, &past], ended(0));
    assert!(!tree.should_fire(&merged, ended(0)), "the count begins anew with the pane");
    let merged = tree.merge(&[&past, &past], at(0));
    assert!(!tree.should_fire(&merged, at(0)) && tree.should_fire(&merged, ended(0)));
}
