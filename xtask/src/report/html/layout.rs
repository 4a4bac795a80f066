//! Where the images of a graph are drawn: columns from left to right, everything after what it needs. Pure.

/// A place: column and row, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The length of the longest way to it from something that needs nothing.
    pub column: usize,
    /// Within the column.
    pub row: usize,
}

/// Places for nodes, of which `needs[n]` lists those that node n comes after. Rows follow the rows of what is needed, so
/// that few lines cross; ties keep the given order. What is on a cycle stands in the first columns.
pub fn places(needs: &[Vec<usize>]) -> Vec<Place> {
    let columns = columns(needs);
    let count = columns.iter().max().map_or(0, |last| last + 1);
    let mut rows = vec![0; needs.len()];
    let mut by_column: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (node, &column) in columns.iter().enumerate() {
        by_column[column].push(node);
    }
    let mut wanted_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (node, needed) in needs.iter().enumerate() {
        for &need in needed.iter().filter(|&&need| need < needs.len()) {
            wanted_by[need].push(node);
        }
    }
    // Barycentres, there and back again.
    for pass in 0..4 {
        let forward = pass % 2 == 0;
        for step in 0..count {
            let column = if forward { step } else { count - 1 - step };
            let neighbours = if forward { needs } else { &wanted_by[..] };
            let mut nodes = std::mem::take(&mut by_column[column]);
            if pass > 0 || column > 0 {
                let keys: Vec<f64> = nodes.iter().map(|&n| barycentre(n, &neighbours[n], &rows)).collect();
                let mut order: Vec<usize> = (0..nodes.len()).collect();
                order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
                nodes = order.into_iter().map(|at| nodes[at]).collect();
            }
            for (row, &node) in nodes.iter().enumerate() {
                rows[node] = row;
            }
            by_column[column] = nodes;
        }
    }
    columns.into_iter().zip(rows).map(|(column, row)| Place { column, row }).collect()
}

fn barycentre(node: usize, neighbours: &[usize], rows: &[usize]) -> f64 {
    let known: Vec<usize> = neighbours.iter().filter_map(|&n| rows.get(n)).copied().collect();
    if known.is_empty() { rows[node] as f64 } else { known.iter().sum::<usize>() as f64 / known.len() as f64 }
}

/// By rounds: a node's column is settled once those of all its needs are.
fn columns(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut columns: Vec<Option<usize>> = vec![None; needs.len()];
    loop {
        let mut settled = false;
        for node in 0..needs.len() {
            if columns[node].is_some() {
                continue;
            }
            let mut column = Some(0);
            for &need in needs[node].iter().filter(|&&need| need < needs.len()) {
                column = match (column, columns[need]) {
                    (Some(so_far), Some(of_need)) => Some(so_far.max(of_need + 1)),
                    _ => None,
                };
            }
            if column.is_some() {
                columns[node] = column;
                settled = true;
            }
        }
        if !settled {
            return columns.into_iter().map(Option::unwrap_or_default).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(needs: &[&[usize]], expect: &[(usize, usize)]) {
        let needs: Vec<Vec<usize>> = needs.iter().map(|n| n.to_vec()).collect();
        let places: Vec<_> = places(&needs).into_iter().map(|place| (place.column, place.row)).collect();
        assert_eq!(places, expect);
    }

    #[test]
    fn everything_stands_after_what_it_needs() {
        check(&[], &[]);
        check(&[&[], &[0], &[1]], &[(0, 0), (1, 0), (2, 0)]);
        check(&[&[1], &[], &[0, 1]], &[(1, 0), (0, 0), (2, 0)]);
        // Rows follow what is needed: 2 needs 1, 3 needs 0.
        check(&[&[], &[], &[1], &[0]], &[(0, 0), (0, 1), (1, 1), (1, 0)]);
        // A cycle, and a need that does not exist.
        check(&[&[1], &[0], &[9]], &[(0, 1), (0, 0), (0, 2)]);
    }

    proptest! {
        #[test]
        fn no_two_share_a_place(needs in proptest::collection::vec(proptest::collection::vec(0usize..15, 0..3), 0..15)) {
            let places = places(&needs);
            let unique: std::collections::BTreeSet<_> = places.iter().map(|place| (place.column, place.row)).collect();
            prop_assert_eq!(unique.len(), needs.len());
        }
    }
}
