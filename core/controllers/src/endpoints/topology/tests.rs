use k8s_openapi::api::discovery::v1::EndpointConditions;

use super::*;

fn endpoint(zone: &str) -> Endpoint {
    Endpoint {
        conditions: Some(EndpointConditions { ready: Some(true), ..Default::default() }),
        zone: Some(zone.to_owned()),
        ..Default::default()
    }
}

/// The zones that endpoints in some zones serve, where zones have so many processors.
fn serve(processors: &[(&str, i32)], endpoints: &[&str]) -> Result<Vec<String>, String> {
    let total: i32 = processors.iter().map(|(_, count)| count).sum();
    let share = |count: i32| f64::from(count) / f64::from(total);
    let shares = processors.iter().map(|(zone, count)| ((*zone).to_owned(), share(*count)));
    let endpoints = endpoints.iter().map(|zone| endpoint(zone)).collect();
    let mut slices = [Planned::new_slice("IPv4", endpoints)];
    let counts = give_to_family(&mut slices, &Ok(shares.collect()))?;
    let [slice] = slices;
    let zones = slice.endpoints.into_iter().map(|one| {
        let [zone] = &one.hints.unwrap().for_zones.unwrap()[..] else { panic!("one zone each") };
        zone.name.clone()
    });
    let zones: Vec<String> = zones.collect();
    for (zone, count) in counts {
        assert_eq!(zones.iter().filter(|one| **one == zone).count(), count, "{zone}");
    }
    Ok(zones)
}

#[test]
fn endpoints_serve_their_zone_but_for_those_that_another_lacks() {
    let two = [("a", 4), ("b", 4)];
    assert_eq!(serve(&two, &["a", "b", "a", "b"]).unwrap(), ["a", "b", "a", "b"]);
    assert_eq!(serve(&two, &["a", "a", "a", "b"]).unwrap(), ["b", "a", "a", "b"]);
    let three = [("a", 4), ("b", 4), ("c", 4)];
    assert_eq!(serve(&three, &["a", "a", "a"]).unwrap(), ["b", "c", "a"]);
    // Half an endpoint is not worth the way.
    let seven = ["a", "a", "a", "a", "b", "b", "b"];
    assert_eq!(serve(&two, &seven).unwrap(), seven);
    // Where the processors are.
    let uneven = [("a", 9), ("b", 3)];
    assert_eq!(serve(&uneven, &["a", "a", "b", "b"]).unwrap(), ["a", "a", "a", "b"]);
}

#[test]
fn where_zones_would_be_overloaded_there_are_no_hints() {
    let two = [("a", 4), ("b", 4)];
    let error = serve(&two, &["a"]).unwrap_err();
    assert_eq!(error, "Insufficient number of endpoints (1 endpoints, 2 zones)");
    let error = serve(&[("a", 9), ("b", 1)], &["a", "b"]).unwrap_err();
    let why = "Unable to allocate minimum required endpoints to each zone without exceeding \
               overload threshold (2 endpoints, 2 zones)";
    assert_eq!(error, why);
    let error = serve(&two, &["a", "", "b", "b"]).unwrap_err();
    assert_eq!(error, "One or more endpoints do not have a zone specified");
}

#[test]
fn a_zone_is_overloaded_with_fewer_endpoints_than_it_needs() {
    let shares = Shares::from([("a".to_owned(), 0.5), ("b".to_owned(), 0.5)]);
    for (a, b, expected) in
        [(3, 3, false), (5, 4, false), (7, 4, true), (2, 0, true), (0, 0, false)]
    {
        let counts = Counts::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        assert_eq!(is_overloaded(&counts, &shares), expected, "{a} and {b}");
    }
}
