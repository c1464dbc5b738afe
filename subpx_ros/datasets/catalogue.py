"""What `subpx data list` tells of every data set that this package reads: what it is, where it is from, its layout."""

from __future__ import annotations

from dataclasses import dataclass

RECORDING, PAIRS = "recording", "pairs"


@dataclass(frozen=True)
class DataSet:
    """One entry; `name` is that of its layout in `datasets.LAYOUTS` or `datasets.pairs.LAYOUTS`."""

    name: str
    kind: str
    """RECORDING, for `subpx run` and `subpx bench odometry`, or PAIRS, for the other benchmarks."""
    title: str
    source: str
    """Where to get it."""
    licence: str
    layout: tuple[str, ...]
    """Lines: files of the folder to be named; [in brackets] what may be missing."""


_OWN = "your own"

CATALOGUE = (
    DataSet(
        "kitti",
        RECORDING,
        "KITTI odometry: a car, rectified stereo at 10 Hz, 22 drives, true poses of 11",
        "https://www.cvlibs.net/datasets/kitti/eval_odometry.php: grayscale (22 GB), calibration files, ground truth poses",
        "CC BY-NC-SA 3.0",
        (
            "sequences/00/  calib.txt  image_0/000000.png ...  [image_1/]  [times.txt]  (or image_2/, image_3/: colour)",
            "[poses/00.txt]  (or poses.txt in the sequence)",
        ),
    ),
    DataSet(
        "kitti-raw",
        RECORDING,
        "KITTI raw data: the same car, more drives, poses of its inertial navigation",
        "https://www.cvlibs.net/datasets/kitti/raw_data.php: 'synced+rectified data' and 'calibration' of a drive",
        "CC BY-NC-SA 3.0",
        (
            "2011_09_26/  calib_cam_to_cam.txt  [calib_imu_to_velo.txt  calib_velo_to_cam.txt]",
            "2011_09_26/2011_09_26_drive_0001_sync/  image_00/data/0000000000.png ...  image_00/timestamps.txt  [image_01/]",
            "  [oxts/data/0000000000.txt ...]  (or image_02/, image_03/: colour)",
        ),
    ),
    DataSet(
        "euroc",
        RECORDING,
        "EuRoC MAV: a drone indoors, unrectified stereo at 20 Hz, 11 flights with true poses",
        "https://projects.asl.ethz.ch/datasets/euroc-mav/: the archives in ASL format",
        "non-commercial use; see its page",
        (
            "MH_01_easy/mav0/  cam0/data.csv  cam0/sensor.yaml  cam0/data/1403636579763555584.png ...  [cam1/]",
            "  [state_groundtruth_estimate0/data.csv]",
        ),
    ),
    DataSet(
        "tum",
        RECORDING,
        "TUM RGB-D: a handheld Kinect, colour and depth at 30 Hz, 39 recordings with true poses; others share its layout",
        "https://cvg.cit.tum.de/data/datasets/rgbd-dataset/download",
        "CC BY 4.0",
        (
            "rgbd_dataset_freiburg1_xyz/  rgb.txt  rgb/1305031102.175304.png ...  [depth.txt  depth/]  [groundtruth.txt]",
            "  calibration.txt 'fx fy cx cy [k1 k2 p1 p2 [k3]]' where the folder's name does not hold freiburg1, 2 or 3",
        ),
    ),
    DataSet(
        "rosbag",
        RECORDING,
        "rosbag2 or ROS 1 bag: images with their camera_info, one camera, stereo, or one with depth",
        "your own recording, or 'subpx bag SOURCE OUT'",
        _OWN,
        ("a folder with metadata.yaml, or one .mcap, .db3 (zstd or not) or .bag file",),
    ),
    DataSet(
        "megadepth1500",
        PAIRS,
        "MegaDepth-1500: 1500 pairs of photographs of two landmarks, poses by structure from motion",
        "https://www.cs.cornell.edu/projects/megadepth/ (SfM models, undistorted); index files: LoFTR's repository,"
        " assets/megadepth_test_1500_scene_info",
        "see its page; photographs belong to their authors",
        ("*scene_info/0015_0.1_0.3.npz ...  [megadepth_test_1500.txt]", "Undistorted_SfM/0015/images/..."),
    ),
    DataSet(
        "scannet1500",
        PAIRS,
        "ScanNet-1500: 1500 pairs of indoor frames, poses by RGB-D reconstruction",
        "http://www.scan-net.org/ (after signing its terms of use); index files: LoFTR's repository, assets/scannet_test_1500",
        "ScanNet terms of use, non-commercial research",
        (
            "test.npz  [intrinsics.npz]",
            "[test/ or scans_test/]  scene0707_00/color/0.jpg ...  [pose/0.txt ...]  [intrinsic/intrinsic_color.txt]",
        ),
    ),
    DataSet(
        "hpatches",
        PAIRS,
        "HPatches sequences: 116 planar scenes of 6 images, changes of light or viewpoint, with homographies",
        "https://github.com/hpatches/hpatches-dataset: hpatches-sequences-release",
        "not stated; the sequences come from several works named there",
        ("i_NAME/ and v_NAME/  1.ppm ... 6.ppm  H_1_2 ... H_1_6",),
    ),
    DataSet(
        "oxford",
        PAIRS,
        "Oxford affine covariant regions: 8 scenes of 6 images with homographies",
        "https://www.robots.ox.ac.uk/~vgg/research/affine/",
        "not stated",
        ("[NAME/]  img1.ppm ... img6.ppm  H1to2p ... H1to6p",),
    ),
    DataSet(
        "colmap",
        PAIRS,
        "images with a COLMAP model in text form: all pairs",
        "your own reconstruction, 'colmap model_converter --output_type TXT'",
        _OWN,
        ("images/  and, anywhere below, cameras.txt  images.txt",),
    ),
    DataSet(
        "list",
        PAIRS,
        "a list of pairs with intrinsics and motion, or with a homography",
        "your own; docs/benchmarking.md has the format",
        _OWN,
        ("pairs.txt, pairs_calibrated.txt or scannet_test_pairs_with_gt.txt, and the images it names",),
    ),
)
